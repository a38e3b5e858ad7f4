/* adopt: another process becomes the owner of a session whose owner is dead.
   Locks as in detail/session/life.hpp, entry.hpp and adoption.hpp: flock on the directory (shared: whoever lives in it; exclusive: whoever
   removes it), OFD write locks on byte 0 of .lock (the owner), on byte 1 (whoever writes metadata.json) and on the tables' bytes
   of .scratch-locks, flock on a temporary file (its writer). Nobody waits. A process dies before any step; then the kernel drops
   its locks. An owner from mkdir to its leaving, a joiner (merges, or writes a temporary file, or folds the records), two
   adopters, a sweeper that may take kept ones, too. The merge has two claims of one nonce, so that repairing it has a middle.

   To adopt:
   1. Open the directory, following no link. Shared flock (for 100 ms); refused: busy.
   2. Identity: the name leads to the directory that is locked; else session_gone. Never before 1.
   3. metadata.json is there; else nobody's session yet: its creator has the directory, but not yet the byte. Leave as refused.
   4. Open .lock; take the owner's byte. Refused: busy; leave as refused. From here on this is the owner. It keeps the shared lock,
      and never tries the exclusive one to see whether it is alone: on the same descriptor that drops the shared one.
   5. Finish or undo pending merges, each under the locks of its names; one is held: whoever has it lives and sees to it.
   6. Remove temporary files that nobody has locked. Nothing else goes: a file without a record may be a joiner's just now.
   7. Under byte 1: metadata.json anew, the old owner under `previous`, this one at the head, in_progress. Held for long: busy;
      leave as an owner.
   8. The mark that keeps it.
   5 and 6 whatever metadata.json says: who wrote it may have died since. Each step may be done twice.
   Leaving as refused: shared lock, then a look at the owner's byte; free: the removal step. As an owner: byte, shared lock,
   removal step (without a look at the byte: who has it has the shared lock, too).
   The mark is there only while metadata.json is there and says in_progress: made after it, taken away before `completed`.

   Must hold: -DNOMETA=1 -DBORN=1 (no step 3, and .lock is born locked)
   Must fail: -DNOIDENT=1 (no 2) -DIDENTFIRST=1 (2 before 1) -DNOMETA=1 (no 3) -DBYTEFIRST=1 (4 before 1) -DREPAIRFIRST=1 (5 to 7 before 4)
   -DUPGRADE=1 (4 tries the exclusive lock on the same descriptor) -DDOWNGRADE=1 (1 takes the exclusive one, made a shared one behind 4)
   -DNONAMES=1 (5 without the names' locks) -DNOTEMP=1 (6 without a look at the writer's lock) -DNOFOLD=1 (7 without byte 1)
   -DONCE=1 (7 before 5, and 5 only where metadata.json names the first owner) -DMARKFIRST=1 (kept from mkdir on)
   -DSTATUSFIRST=1 (`completed` before the mark goes) -DREFUSED=0 (a refused adopter only closes) -DREFUSED=2 (a refused joiner does)
   -DNOFLOCK=1 (a sweep that looks at the owner's byte alone) -DLEAVEBYTE=1 (an owner drops its shared lock first) */
#ifndef REFUSED
#define REFUSED 1
#endif
#ifdef NOFLOCK
#define NOFLOCK_ 1
#else
#define NOFLOCK_ 0
#endif
#ifdef MARKFIRST
#define MARKFIRST_ 1
#else
#define MARKFIRST_ 0
#endif
#define OWN 0
#define JOI 1
#define AD1 2
#define AD2 3
#define SWP 4
#define NONE 7
#define BIT(p) (1 << (p))
#define S(x) if :: atomic { died = true; goto out } :: atomic { true; x } fi     /* `true`: a bare `else` would see the death beside it */
#define NAMED 0
#define CLAIMED 1
#define GONE 2

bool policy;                       /* KeepUnlessCompleted */
bool name, lockf, meta, done, kept;
byte sh;                           /* who holds the shared lock */
byte ex = NONE, owner = NONE, fold = NONE, names = NONE, tmplock = NONE;
byte believes;                     /* who thinks that it is the owner */
byte head = NONE, last = NONE;     /* whom metadata.json names; who wrote that last */
byte a = 1, b = NAMED, c = NAMED;  /* table A's count; where B and C are */
bool absorbed, tmp, died;
byte orphan = NONE;                /* who died in a merge or in repairing one */
bool first;                        /* the adopters are alike: AD1 begins first */
byte alive;

#define DROP(p) sh = sh & ~BIT(p); believes = believes & ~BIT(p); \
  if :: ex == p -> ex = NONE :: else fi; if :: owner == p -> owner = NONE :: else fi; \
  if :: fold == p -> fold = NONE :: else fi; \
  if :: names == p -> names = NONE; orphan = (b == CLAIMED || c == CLAIMED -> p : NONE) :: else fi; \
  if :: tmplock == p -> tmplock = NONE :: else fi
#define IS_OWNER(p) assert(name && believes == BIT(p) && owner == p && head == p)

inline recover(t) { if :: t == CLAIMED && absorbed -> t = GONE :: t == CLAIMED && !absorbed -> t = NAMED :: else fi }

/* the names are locked */
inline merge_step(p) {
  S( b = CLAIMED );
  S( c = CLAIMED );
  S( a = a + 2; absorbed = true );
  S( b = GONE );
  S( c = GONE )
}

/* the removal step; look: 1 for a sweep (looks at the owner's byte; may take kept ones), 0 for who leaves */
inline removal(p, look) {
  S( if :: !name -> goto out :: else fi;
     if :: sh == 0 && ex == NONE -> ex = p :: look && NOFLOCK_ -> skip :: else -> goto out fi;
     if :: (look && owner != NONE) || (kept && !look) -> goto out :: kept && look -> if :: goto out :: skip fi :: else fi );
  S( if :: name -> assert(sh == 0 && owner == NONE && believes == 0); name = false :: else fi );
  goto out                         /* deleted; the exclusive lock ends in `out` */
}

inline complete_and_leave(p) {
#ifdef STATUSFIRST
  S( if :: done = true :: goto leave fi ); S( kept = false );
#else
  S( if :: kept = false :: goto leave fi ); S( done = true );
#endif
leave:
#ifdef LEAVEBYTE
  S( sh = sh & ~BIT(p); believes = believes & ~BIT(p) );
  S( owner = (owner == p -> NONE : owner) );
#else
  S( owner = (owner == p -> NONE : owner); believes = believes & ~BIT(p) );
  S( sh = sh & ~BIT(p) );
#endif
  removal(p, 0)
}

proctype Owner() {
  S( name = true; kept = policy && MARKFIRST_ );
  S( if :: ex != NONE -> name = false; goto out :: else -> sh = sh | BIT(OWN) fi );
  S( if :: !name -> sh = sh & ~BIT(OWN); goto out :: else fi );
#ifdef BORN
  S( lockf = true; owner = OWN; believes = believes | BIT(OWN); assert(believes == BIT(OWN)) );
#else
  S( lockf = true );
  S( if :: owner == NONE -> owner = OWN :: else fi; believes = believes | BIT(OWN); assert(believes == BIT(OWN)) );
#endif
  S( meta = true; head = OWN; last = OWN );
  S( kept = policy );
  if
  :: S( if :: names == NONE -> names = OWN :: else -> goto idle fi );
     S( recover(b) ); S( recover(c); orphan = NONE );
     if :: b == NAMED && c == NAMED -> merge_step(OWN) :: else fi;
     S( names = NONE )
  :: goto idle
  fi;
idle:
  S( IS_OWNER(OWN) );
  complete_and_leave(OWN);
out: atomic { DROP(OWN); alive-- }
}

proctype Joiner() { byte h = NONE;
  S( if :: !name -> goto out :: else fi );
  S( if :: ex != NONE -> goto out :: else -> sh = sh | BIT(JOI) fi );
  S( if :: !name -> goto out :: else fi );
  S( if :: !lockf || owner == NONE -> if :: REFUSED == 2 -> goto out :: else -> goto drop fi :: else fi );
  if
  :: S( if :: names == NONE -> names = JOI :: else -> goto drop fi );
     S( recover(b) ); S( recover(c); orphan = NONE );
     if :: b == NAMED && c == NAMED -> merge_step(JOI) :: else fi;
     S( names = NONE )
  :: S( tmp = true; tmplock = JOI );
     S( assert(tmp); tmp = false; tmplock = NONE )
  :: S( if :: fold == NONE && meta -> fold = JOI :: else -> goto drop fi );
     S( h = head );
     S( head = h; h = NONE );
     S( fold = NONE )
  fi;
drop:
  S( assert(name); sh = sh & ~BIT(JOI) );
  S( if :: owner != NONE -> goto out :: else fi );
  removal(JOI, 0);
out: atomic { DROP(JOI); h = NONE; alive-- }
}

inline repair(p) {
#ifdef NONAMES
  S( recover(b) ); S( recover(c); orphan = NONE );
#else
  S( if :: names == NONE -> names = p :: else -> goto temps fi );
  S( recover(b) ); S( recover(c); orphan = NONE );
  S( assert(b != CLAIMED && c != CLAIMED); names = NONE );
#endif
temps:
#ifdef NOTEMP
  S( assert(!tmp || tmplock == NONE); tmp = false )
#else
  S( if :: tmp && tmplock == NONE -> tmp = false :: else fi )
#endif
}

inline write_head(p) {
#ifdef NOFOLD
  skip;
#else
  S( if :: fold == NONE -> fold = p :: else -> goto leave fi );
#endif
  S( meta = true; head = p; last = p; done = false );
  S( fold = (fold == p -> NONE : fold) )
}

proctype Adopter(byte me) { byte seen = NONE;
  if :: me == AD2 -> first :: else fi;
  S( first = true; if :: !name -> goto out :: else fi );
#ifdef BYTEFIRST
  S( if :: !meta -> goto out :: else fi );
  S( if :: !lockf || owner != NONE -> goto out :: else -> owner = me fi );
#endif
#ifdef IDENTFIRST
  S( if :: !name -> goto out :: else fi );
#endif
#ifdef DOWNGRADE
  S( if :: ex != NONE || sh != 0 -> goto out :: else -> ex = me fi );
#else
  S( if :: ex != NONE -> goto out :: else -> sh = sh | BIT(me) fi );
#endif
#ifndef NOIDENT
#ifndef IDENTFIRST
  S( if :: !name -> goto out :: else fi );
#endif
#endif
#ifndef NOMETA
  S( if :: !meta -> goto refused :: else fi );
#endif
#ifdef REPAIRFIRST
  repair(me);
  write_head(me);
#endif
#ifdef BYTEFIRST
  S( believes = believes | BIT(me); assert(believes == BIT(me) && name); seen = orphan );
#else
  S( if :: !lockf || owner != NONE -> goto refused :: else -> owner = me fi; believes = believes | BIT(me); assert(believes == BIT(me) && name); seen = orphan );
#endif
#ifdef DOWNGRADE
  S( ex = NONE );                                                         /* the kernel removes the one lock, then sets the other */
  S( if :: ex != NONE -> goto leave :: else -> sh = sh | BIT(me) fi );
  S( if :: !name -> goto out :: else fi );
#endif
#ifdef UPGRADE
  S( sh = sh & ~BIT(me); if :: sh == 0 && ex == NONE -> ex = me :: else fi );   /* a failed one has dropped the shared lock */
  S( if :: ex == me -> ex = NONE; sh = sh | BIT(me) :: else fi );               /* for once as one step */
#endif
  assert(name);
#ifdef ONCE
  if :: head != OWN -> write_head(me) :: else -> write_head(me); repair(me) fi;
#else
#ifndef REPAIRFIRST
  repair(me);
  assert(name);
  write_head(me);
#endif
#endif
  S( kept = policy );
  S( IS_OWNER(me); assert(seen == NONE || orphan != seen || names != NONE); seen = NONE );
  complete_and_leave(me);
refused:
  S( sh = sh & ~BIT(me); ex = (ex == me -> NONE : ex) );
  if :: REFUSED == 0 -> goto out :: else fi;
  S( if :: owner != NONE -> goto out :: else fi );
  removal(me, 0);
out: atomic { DROP(me); seen = NONE; first = true; alive-- }
}

proctype Sweeper() {
  removal(SWP, 1);
out: atomic { DROP(SWP); alive-- }
}

init {
  atomic {
    if :: policy = true :: policy = false fi;
    alive = 5;
    run Owner(); run Joiner(); run Adopter(AD1); run Adopter(AD2); run Sweeper()
  };
  alive == 0;
  d_step {
    assert(sh == 0 && ex == NONE && owner == NONE && believes == 0);
    assert(died || !name || kept);                        /* all left in peace: removed, unless it is to stay */
    assert(!name || !kept || (meta && !done));            /* a kept one is unfinished work that can be adopted: nothing is stuck */
    assert(head == last);                                 /* nobody brought back an older head */
    recover(b); recover(c);                               /* the next adopter */
    assert((a == 1 && b == NAMED && c == NAMED) || (a == 3 && b == GONE && c == GONE))
  }
}
