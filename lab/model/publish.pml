/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a change of the KVM clock's line reaches the guest's pages: the protocol of
 * arch/x86/kvm/kvmclock.c (begin_update to end_update) and kvmclock_pages.c (on the
 * way into the guest), described in Documentation/virt/kvm/x86/kvmclock.rst.
 *
 * A line is a number.  Each is greater than those before it at any instant, as after
 * a KVM_SET_CLOCK forward, so that a reading is the number of the line it was computed
 * with.  Memory that the host has paged out keeps its contents.  vCPU 0 is the boot
 * vCPU, whose page is read by all; apart from that, each reads its own.
 *
 *   I1  nobody reads between the instant at which a line is drawn and the line
 *   I2  nobody reads less than anybody has read, through its own page or vCPU 0's, but
 *       for vCPU 0's from when an absent one comes until somebody enters the guest
 *   own who enters the guest has had its own page written, if that did not vanish again
 *   P1  a SET ends, whatever memory is absent, for ever too
 *   P2  so does who enters, if its own page is there
 *   P3  nobody tries to write more than three pages at an entry
 *
 * P1 and P2 are violated by a state that nothing leads out of and that is no end:
 * only a vCPU whose own memory never comes may be left.
 *
 * Mutations, for lab/model/check.sh: NO_KICK, NO_LAST_LOOK, NO_SECOND_LOOK, NO_BOOT, NO_OWN,
 * GEN_LATE, NO_LOCK, NO_RETRY, NOTE_FAILED, WAIT_BOOT for P2, and NO_END for P3.
 */
#ifndef VCPUS
#define VCPUS	3
#endif
#ifndef SETS
#define SETS	2
#endif
#ifndef PAGE_OUTS
#define PAGE_OUTS	1
#endif
#define MAX_TRIES	3
#define UNLOCKED	255

/* struct kvm_clock: half of the generation is the line's number, too. */
byte generation = 1;
bool odd = false;		/* nobody enters the guest */
bool drawing = false;		/* since the instant, until there is the line */

/* struct kvm_vcpu_clock, and vcpu->mode */
byte pages_lock[VCPUS] = UNLOCKED;
byte shown[VCPUS] = 1;
bool unwritten[VCPUS] = false;
bool in_guest[VCPUS] = false;

/* The guest's memory, and what all have read. */
byte page[VCPUS] = 1;
bool present[VCPUS] = true;
bool came[VCPUS] = false;	/* and nobody who looked after that has entered since */
bool looked[VCPUS] = false;	/* at vCPU 0's page, which was there, and still is */
byte max_read = 1;
byte tries[VCPUS] = 0;

#define IS_OLD(whose)	(shown[whose] != generation || unwritten[whose])
#ifdef NO_RETRY
#define LOOKS_OLD(whose)	(shown[whose] != generation)
#else
#define LOOKS_OLD(whose)	IS_OLD(whose)
#endif

/* kvmclock_write_pages(whose), by a vCPU: the generation, the line, the page, the note. */
inline write_pages(by, whose)
{
#ifndef NO_LOCK
	atomic { pages_lock[whose] == UNLOCKED -> pages_lock[whose] = by }
#endif
	gen = generation;
	line = generation;
	d_step {
		ok = present[whose];
		if
		:: ok ->
			page[whose] = line;
			came[whose] = false
		:: else
		fi;
		tries[by]++;
		assert(tries[by] <= MAX_TRIES)	/* P3 */
	}
#ifdef GEN_LATE
	gen = generation;
#endif
	atomic {
#ifdef NOTE_FAILED
		unwritten[whose] = false;
#else
		unwritten[whose] = !ok;
#endif
		shown[whose] = gen;
		pages_lock[whose] = UNLOCKED;
		gen = 0; line = 0
	}
}

/* A KVM_SET_CLOCK, from kvmclock_begin_update() to kvmclock_end_update(). */
active proctype set()
{
	byte n = 0, v = 0;

	do
	:: n == SETS -> break
	:: else ->
		odd = true;
#ifndef NO_KICK
		do
		:: v < VCPUS -> !in_guest[v]; v++
		:: else -> v = 0; break
		od;
#endif
		drawing = true;
		d_step { generation++; drawing = false };
		odd = false;
		n++;
	od
}

/* Who has looked at vCPU 0's page may have missed this. */
#if VCPUS > 2
#define FORGET(whose)	looked[0] = false; looked[1] = false; looked[2] = false
#else
#define FORGET(whose)	looked[0] = false; looked[1] = false
#endif

/* Memory is paged out, also what a guest has mapped: KVM unmaps it. */
#define PAGE_OUT(whose)							\
	d_step {							\
		outs < PAGE_OUTS && present[whose] ->			\
		outs++; present[whose] = false;				\
		FORGET(whose)						\
	}

/* By a fault, or without being asked for. */
#define PAGE_IN(whose)							\
	d_step { !present[whose] -> present[whose] = true; came[whose] = true }

active proctype pager()
{
	byte outs = 0;

end_pager:
	do
	:: PAGE_OUT(0)
	:: PAGE_OUT(1)
	:: PAGE_IN(0)
	:: outs == PAGE_OUTS -> break
	od
}

/* What is absent is not mapped: the guest leaves, the page comes, and it is back. */
#define READ(whose)							\
	atomic {							\
		present[whose] ->					\
		assert(!drawing);				/* I1 */ \
		assert(page[whose] >= max_read || came[whose]);	/* I2 */ \
		if							\
		:: page[whose] > max_read -> max_read = page[whose]	\
		:: else							\
		fi;							\
		goto guest						\
	}
#define FAULT(whose)							\
	atomic {							\
		!present[whose] ->					\
		in_guest[me] = false;					\
		v = whose;						\
		goto fault						\
	}

active [VCPUS] proctype vcpu()
{
	byte me = _pid - 2, v = 0, gen = 0, line = 0, goal = 0;
	bool ok = false;

outside:
	atomic { ok = false; v = 0; goal = 0 }
end_outside:
enter:
	/* vcpu_enter_guest(): kvmclock_look_for_changes(), then the requests. */
	atomic {
		tries[me] = 0;
		looked[me] = present[0];
		if
		:: odd -> goto outside
		:: !odd && !LOOKS_OLD(me) && !LOOKS_OLD(0) -> goto check
		:: else -> goal = generation
		fi
	}

#ifndef NO_OWN
	/* kvmclock_write_own_pages() */
	if
	:: LOOKS_OLD(me) ->
		write_pages(me, me);
#ifdef NO_END
		do
		:: !ok ->
#else
		if
		:: !ok ->
#endif
			if
			:: PAGE_IN(me)
			:: present[me]
			:: !present[me] ->
end_absent:			false	/* its memory never comes */
			fi;
			write_pages(me, me);
#ifdef NO_END
		:: else -> break
		od
#else
		:: else
		fi
#endif
	:: else
	fi;
#endif

#ifndef NO_BOOT
	/* The boot vCPU's, by the generation that was there at first. */
	if
	:: me != 0 && (shown[0] != goal || unwritten[0]) ->
		write_pages(me, 0);
#ifdef WAIT_BOOT
		ok || present[0];
#endif
	:: else
	fi;
#endif
	atomic {
		assert(page[me] >= goal || unwritten[me] || came[me]);	/* own */
		ok = false
	}
#ifndef NO_SECOND_LOOK
	if
	:: odd || generation != goal -> goto outside
	:: else
	fi;
#endif

check:
	/* IN_GUEST_MODE, and then whether there was a change, or is one. */
	atomic {
		in_guest[me] = true;
		came[0] = came[0] && !looked[me];
		looked[me] = false
	}
#ifndef NO_LAST_LOOK
	if
	:: odd || shown[me] != generation -> in_guest[me] = false; goto outside
	:: else
	fi;
#endif

guest:
	if
	:: goto leave
	:: READ(0)
	:: FAULT(0)
	:: me != 0 -> if
		      :: READ(me)
		      :: FAULT(me)
		      fi
	fi;

fault:
	if
	:: PAGE_IN(v)
	:: present[v]
	:: !present[v] ->
end_fault:	false		/* what it wants to read never comes */
	fi;
	atomic { v = 0; goto enter }

leave:
	in_guest[me] = false;
	goto outside
}
