/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a change of the KVM clock's line reaches the guest's pages: the protocol of
 * arch/x86/kvm/kvmclock.c (begin_update to end_update) and kvmclock_pages.c (on the
 * way into the guest), described in Documentation/virt/kvm/x86/kvmclock.rst.
 *
 * A line is a number.  Each is greater than those before it at any instant, as after
 * a KVM_SET_CLOCK forward, so that a reading is the number of the line it was computed
 * with.  A page that the host has paged out keeps its contents.
 *
 *   I1  nobody reads between the instant at which a line is drawn and the line
 *   I2  nobody reads less than anybody has read, through any page
 *   P1  a SET ends, whatever memory is absent, for ever too
 *   P2  so does who enters, if its own page is there
 *   P3  nobody writes more pages of others than the dirty ring has room for
 *
 * P1 and P2 are violated by a state that nothing leads out of and that is no end:
 * only a vCPU whose own memory never comes may be left.
 *
 * Mutations, for lab/model/check.sh: NO_KICK, NO_PUBLISH, GEN_LATE, NO_OWNER, and
 * NO_RING for P3.  SPLIT_FAULT is the code as it is, see FAULT().
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
#define ROOM		1	/* in a dirty ring, before it is said to be full */
#define UNLOCKED	255

/* struct kvm_clock: generation is the line's number, too. */
byte generation = 1;
byte published = 1;
byte publishing = 0;
byte next_vcpu = 0;
byte nr_stale = 0;
byte publish_lock = UNLOCKED;
bool drawing = false;		/* since the instant, until there is the line */

/* struct kvm_vcpu_clock, requests, and vcpu->mode */
byte shown[VCPUS] = 1;
byte seen[VCPUS] = 1;
byte faulted_in[VCPUS] = 1;
bool stale[VCPUS] = false;
bool failed[VCPUS] = false;	/* since the page was last begun by who looks */
bool in_progress[VCPUS] = false;
bool must_write[VCPUS] = false;
bool in_guest[VCPUS] = false;

/* The guest's memory, and what all have read. */
byte page[VCPUS] = 1;
bool present[VCPUS] = true;
bool mapped[VCPUS] = true;	/* in the guest, which faults otherwise */
byte max_read = 1;
byte dirty[VCPUS] = 0;

inline set_stale(whose, is)
{
	nr_stale = nr_stale + is - stale[whose];
	stale[whose] = is;
}

/* kvmclock_write_pages(whose), by a vCPU: the generation, then the line, then what to note. */
inline write_pages(by, whose, gen, done)
{
	d_step {
		gen = generation;
		failed[whose] = false;
	}
	d_step {
		done = present[whose];
		if
		:: done ->
			page[whose] = generation;
			dirty[by]++;
			assert(dirty[by] <= ROOM + 1);	/* P3, one of them its own */
		:: else
		fi
	}
#ifdef GEN_LATE
	gen = generation;
#endif
	d_step {
		if
		:: !done ->
			failed[whose] = true;
			set_stale(whose, true);
		:: done && gen == generation && !failed[whose] ->
			shown[whose] = gen;
			set_stale(whose, false);
		:: else
		fi
		gen = 0;
	}
}

#ifdef NO_RING
#define RING_IS_FULL(v)	false
#else
#define RING_IS_FULL(v)	(dirty[v] >= ROOM)
#endif

/* A KVM_SET_CLOCK, from kvmclock_begin_update() to kvmclock_end_update(). */
active proctype set()
{
	byte n = 0, v = 0;

	do
	:: n == SETS -> break
	:: else ->
#ifndef NO_KICK
		d_step {
			v = 0;
			do
			:: v < VCPUS -> in_progress[v] = true; v++
			:: else -> break
			od;
			v = 0;
		}
		do
		:: v < VCPUS -> !in_guest[v]; v++
		:: else -> break
		od;
#endif
		drawing = true;
		d_step {
			generation++;
			drawing = false;
			v = 0;
		}
		do
		:: v < VCPUS ->
			d_step {
				must_write[v] = true;
				in_progress[v] = false;
				v++;
			}
		:: else -> v = 0; break
		od;
		n++;
	od
}

/* Memory is paged out, also what a guest has mapped. */
active proctype pager()
{
	byte n = 0;

end_pager:
	do
	:: n < PAGE_OUTS ->
		if
		:: d_step { present[0] = false; mapped[0] = false }
		:: d_step { present[1] = false; mapped[1] = false }
#if VCPUS > 2
		:: d_step { present[2] = false; mapped[2] = false }
#endif
		fi;
		n++
	:: n == PAGE_OUTS -> break
	od
}

/* Another's page is as good as one's own. */
#define READ(whose)							\
	atomic {							\
		mapped[whose] ->					\
		assert(!drawing);			/* I1 */	\
		assert(page[whose] >= max_read);	/* I2 */	\
		max_read = page[whose];					\
		goto guest						\
	}

/*
 * It leaves, KVM maps the page, and it comes back.  Here a stale page is written as
 * it is mapped.  KVM does that on the way back into the guest, so that for as long
 * another vCPU that did not leave can read it: SPLIT_FAULT has it so, and finds I2
 * violated.
 */
#if defined(SPLIT_FAULT) || defined(NO_OWNER)
#define WRITE_MAPPED(whose)
#else
#define WRITE_MAPPED(whose)						\
		if							\
		:: stale[whose] -> page[whose] = generation		\
		:: else							\
		fi;
#endif
#define FAULT(whose)							\
	atomic {							\
		!mapped[whose] ->					\
		in_guest[me] = false;					\
		present[whose] = true;					\
		mapped[whose] = true;					\
		WRITE_MAPPED(whose)					\
		goto enter						\
	}

active [VCPUS] proctype vcpu()
{
	byte me = _pid - 2, v = 0, g = 0, goal = 0, tries = 0;
	bool ok = false;

outside:
	atomic { dirty[me] = 0; g = 0; goal = 0; ok = false; v = 0; tries = 0 }
end_outside:
enter:
	/* vcpu_enter_guest(): kvmclock_look_for_changes(), then the requests. */
	atomic {
		if
		:: seen[me] == generation && !must_write[me] -> goto check
		:: else -> must_write[me] = false
		fi
	}

	/* kvmclock_update_pages() */
	goal = generation;

#ifndef NO_PUBLISH
	/* kvmclock_publish() */
	if
	:: published == generation -> goto own
	:: else
	fi;
	atomic {
		publish_lock == UNLOCKED ->
		v = generation;		/* what v is, until published */
		if
		:: published == v -> v = 0; goto own
		:: published != v && publishing == v
		:: published != v && publishing != v -> publishing = v; next_vcpu = 0
		fi;
		publish_lock = me
	}
	do
	:: next_vcpu == VCPUS ->
		atomic {
			published = v; publishing = 0; next_vcpu = 0; v = 0;
			publish_lock = UNLOCKED;
			break
		}
	:: next_vcpu < VCPUS && RING_IS_FULL(me) ->
		/* User space drains it, and comes back. */
		atomic { must_write[me] = true; publish_lock = UNLOCKED; goto outside }
	:: next_vcpu < VCPUS && !RING_IS_FULL(me) ->
		if
		:: shown[next_vcpu] != v ->
			write_pages(me, next_vcpu, g, ok);
		:: else
		fi;
		next_vcpu++
	od;
own:
#endif
#ifndef NO_OWNER
	/* kvmclock_write_own_pages(): once for each generation. */
	if
	:: shown[me] != goal && faulted_in[me] != goal ->
		write_pages(me, me, g, ok);
		if
		:: !ok ->
			if
			:: present[me] = true
			:: true ->
end_absent:			false	/* its memory never comes */
			fi;
			d_step { dirty[me] = (dirty[me] > 0 -> dirty[me] - 1 : 0) }
			write_pages(me, me, g, ok);
		:: else
		fi
	:: else
	fi;
	faulted_in[me] = goal;
#endif

	/* kvmclock_retry_pages() */
#ifndef NO_OWNER
	tries = 0;
	do
	:: nr_stale && tries < VCPUS && !RING_IS_FULL(me) ->
		if
		:: stale[tries] -> write_pages(me, tries, g, ok)
		:: else
		fi;
		tries++
	:: else -> break
	od;
	atomic {
		tries = 0;
		ok = false;
	}
#endif
	atomic {
		seen[me] = (nr_stale -> 0 : goal);
		goal = 0;
	}

check:
	/* IN_GUEST_MODE, and then whether anything was asked for. */
	in_guest[me] = true;
	if
	:: in_progress[me] || must_write[me] -> in_guest[me] = false; goto outside
	:: else
	fi;

guest:
	if
	:: goto leave
	:: READ(0)
	:: READ(1)
#if VCPUS > 2
	:: READ(2)
#endif
	:: FAULT(0)
	:: FAULT(1)
#if VCPUS > 2
	:: FAULT(2)
#endif
	fi;

leave:
	in_guest[me] = false;
	goto outside
}
