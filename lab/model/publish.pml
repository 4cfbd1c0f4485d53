/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a change of the KVM clock's line reaches the guest's pages: the protocol of
 * arch/x86/kvm/kvmclock.c (begin_update to end_update) and kvmclock_pages.c (on the
 * way into the guest, and in page faults), described in
 * Documentation/virt/kvm/x86/kvmclock.rst.
 *
 * A line is a number.  Each is greater than those before it at any instant, as after
 * a KVM_SET_CLOCK forward, so that a reading is the number of the line it was computed
 * with.  Memory that the host has paged out, or shares so that it can only be read,
 * keeps its contents.
 *
 *   I1  nobody reads between the instant at which a line is drawn and the line
 *   I2  nobody reads less than anybody has read, through any page
 *   own who enters the guest has had its own page written
 *   P1  a SET ends, whatever memory is absent, for ever too
 *   P2  so does who enters, if its own page is there
 *   P3  nobody writes more pages of others than the dirty ring has room for
 *
 * P1 and P2 are violated by a state that nothing leads out of and that is no end:
 * only a vCPU whose own memory never comes may be left.
 *
 * Mutations, for lab/model/check.sh: NO_KICK, NO_PUBLISH, GEN_LATE, NO_OWNER, NO_RING
 * for P3, and of what keeps a page that shows an old line out of the guest's mapping,
 * NO_PREPARE, NO_UNMAP, NO_SEQ.
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
#ifndef SHARES
#define SHARES		0
#endif
#ifndef RETRIES
#define RETRIES		1	/* KVMCLOCK_RETRIES, of VCPUS that may be stale */
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
bool writable[VCPUS] = true;	/* without a fault; what is not present will be */
bool mapped[VCPUS] = true;	/* in the guest, which faults otherwise */
byte seq[VCPUS] = 0;		/* mmu_invalidate_seq, which KVM has one of for all */
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
		done = present[whose] && writable[whose];
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

/* kvmclock_write_page(whose) before it is mapped: nothing is noted. */
inline write_to_map(by, whose, done)
{
	d_step {
		done = present[whose] && writable[whose];
		if
		:: done ->
			page[whose] = generation;
			dirty[by]++;
			assert(dirty[by] <= ROOM + 1);	/* P3 */
		:: else
		fi
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

/* What the page tables of the host have is another from now on: KVM unmaps it. */
#define INVALIDATE(whose)	mapped[whose] = false; seq[whose]++

/* Have memory that can be written, by a fault of the host's. */
inline fault_in_for_write(whose)
{
	d_step {
		if
		:: present[whose] && !writable[whose] -> INVALIDATE(whose)
		:: else
		fi;
		present[whose] = true;
		writable[whose] = true;
	}
}

/* Memory is paged out, or shared with somebody else, also what a guest has mapped. */
#define PAGE_OUT(whose)							\
	d_step {							\
		outs < PAGE_OUTS && present[whose] ->			\
		outs++; present[whose] = false; writable[whose] = true;	\
		INVALIDATE(whose)					\
	}
#define SHARE(whose)							\
	d_step {							\
		shares < SHARES && present[whose] && writable[whose] ->	\
		shares++; writable[whose] = false;			\
		INVALIDATE(whose)					\
	}

active proctype pager()
{
	byte outs = 0, shares = 0;

end_pager:
	do
	:: PAGE_OUT(0)
	:: PAGE_OUT(1)
	:: SHARE(0)
	:: SHARE(1)
#if VCPUS > 2
	:: PAGE_OUT(2)
	:: SHARE(2)
#endif
	:: outs == PAGE_OUTS && shares == SHARES -> break
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

/* It leaves, KVM maps the page, and it comes back. */
#define FAULT(whose)							\
	atomic {							\
		!mapped[whose] ->					\
		in_guest[me] = false;					\
		v = whose;						\
		goto fault						\
	}

active [VCPUS] proctype vcpu()
{
	byte me = _pid - 2, v = 0, g = 0, goal = 0, tries = 0, s = 0;
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
#ifndef NO_UNMAP
			/* kvmclock_unmap_pages() */
			d_step {
				if
				:: !ok -> INVALIDATE(next_vcpu)
				:: else
				fi
			}
#endif
		:: else
		fi;
		atomic { ok = false; next_vcpu++ }
	od;
own:
#endif
#ifndef NO_OWNER
	/* kvmclock_write_own_pages(): once for each generation. */
	if
	:: shown[me] != goal && faulted_in[me] != goal ->
		write_pages(me, me, g, ok);
		do
		:: !ok ->
			if
			:: fault_in_for_write(me)
			:: !present[me] ->
end_absent:			false	/* its memory never comes */
			fi;
			write_pages(me, me, g, ok);
		:: ok -> break
		od
	:: else
	fi;
	faulted_in[me] = goal;
#endif

	/* kvmclock_retry_pages(): some of them, whichever it is the turn of */
#ifndef NO_OWNER
	do
	:: nr_stale && tries < RETRIES && !RING_IS_FULL(me) ->
		if
		:: stale[0] -> v = 0
		:: stale[1] -> v = 1
#if VCPUS > 2
		:: stale[2] -> v = 2
#endif
		:: else -> break
		fi;
		write_pages(me, v, g, ok);
		tries++
	:: else -> break
	od;
#endif
	atomic {
		assert(page[me] >= goal);	/* own */
		seen[me] = (nr_stale -> 0 : goal);
		goal = 0; tries = 0; ok = false; v = 0;
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

fault:
	/* kvm_mmu_faultin_pfn(), by a fault of the host's for reading */
	s = seq[v];
	if
	:: present[v]
	:: atomic { !present[v] -> present[v] = true }
	:: !present[v] ->
end_fault:	false		/* what it wants to read never comes */
	fi;

#ifndef NO_PREPARE
	/* kvmclock_prepare_map() */
	if
	:: nr_stale && stale[v] ->
		if
		:: atomic { RING_IS_FULL(me) -> s = 0; goto outside }
		:: !RING_IS_FULL(me)
		fi;
		write_to_map(me, v, ok);
		if
		:: !ok ->
			fault_in_for_write(v);
			write_to_map(me, v, ok);
		:: else
		fi;
		if
		:: atomic { !ok -> s = 0; v = 0; goto enter }
		:: else -> ok = false
		fi
	:: else
	fi;
#endif

	/* With mmu_lock held, unless is_page_fault_stale(). */
	atomic {
		if
#ifdef NO_SEQ
		:: present[v] -> mapped[v] = true
#else
		:: s == seq[v] -> mapped[v] = true
#endif
		:: else
		fi;
		s = 0; v = 0;
		goto enter
	}

leave:
	in_guest[me] = false;
	goto outside
}
