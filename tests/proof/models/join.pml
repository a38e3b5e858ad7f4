/* creating, joining, leaving, sweeping, and becoming the owner of a session whose owner is dead: adopting, of which only the locks
   are here. Locks as in detail/session/life.hpp and entry.hpp: flock on the directory (shared: whoever lives in it; exclusive:
   whoever removes it), OFD locks on byte 0 of .lock (the owner), byte 1 (whoever writes metadata.json), byte 2 (a share each of
   those who joined). Nobody waits, save in the removal step. A process dies before any step; then the kernel drops its locks.

   To create: mkdir; shared flock; identity; .lock, which is locked when it gets its name; metadata.json; the mark that keeps it.
   To join: open, shared flock; identity; a share of byte 2; the owner's byte is held, else leave as refused.
   To adopt: as to join, without byte 2; metadata.json is there, else leave as refused; the owner's byte, else leave as refused;
   metadata.json anew under byte 1; the mark.
   To leave, refused or not: an owner drops its byte; shared lock; who joined its share of byte 2; who is no owner looks at the
   owner's byte, and is done where it is held; the removal step: exclusive lock; refused: done where somebody else has a share of
   byte 2, else try again.
   The removal step of a sweep looks at the owner's byte; the others' needs not: it is held only under the shared lock.

   One adopter, and no merges or temporary files: that is the joiner's part of a larger model, in a few seconds.
   Must hold: -DNOMETA=1 (the adopter does not look for metadata.json), -DBORN=0 (.lock is locked a step after it is made)
   Must fail: -DNOMETA=1 -DBORN=0 (two owners), -DNOIDENT=1 (no identity check by who joins or adopts), -DBYTEFIRST=1 (the adopter
   takes the byte before the shared lock), -DLEAVEBYTE=1 (an owner drops its shared lock first), -DNOFOLD=1 (metadata.json without
   byte 1), -DMARKFIRST=1 (kept from mkdir on), -DREFUSED=1 (a joiner that is refused only closes),
   -DFAILED=1 (who joined and fails later only closes), -DNOFLOCK=1 (a sweep that looks at the owner's byte alone),
   -DSHARE=2 (byte 2 is dropped behind the look), -DPATIENCE=0 (the removal step is not tried again) */
#ifndef BORN
#define BORN 1
#endif
#ifndef SHARE
#define SHARE 1
#endif
#ifndef PATIENCE
#define PATIENCE 1
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
#define ADO 2
#define SWP 3
#define LOO 4
#define NONE 7
#define BIT(p) (1 << (p))
#define S(x) if :: atomic { died = true; goto out } :: atomic { true; x } fi     /* `true`: a bare `else` would see the death beside it */

bool policy;                       /* it is to stay */
bool name, lockf, meta, kept;
byte sh, joined;                   /* who holds the shared lock, a share of byte 2 */
byte ex = NONE, owner = NONE, fold = NONE;
byte believes;                     /* who thinks that it is the owner */
byte head = NONE, last = NONE;     /* whom metadata.json names; who wrote that last */
bool died;
byte alive;

#define DROP(p) sh = sh & ~BIT(p); joined = joined & ~BIT(p); believes = believes & ~BIT(p); \
  if :: ex == p -> ex = NONE :: else fi; if :: owner == p -> owner = NONE :: else fi; if :: fold == p -> fold = NONE :: else fi

/* of whoever leaves */
inline removal(p) {
  do
  :: S( if :: !name -> goto out :: else fi; if :: sh == 0 && ex == NONE -> ex = p :: else fi );
     if
     :: ex == p -> break
     :: ex != p -> S( if :: (joined & ~BIT(p)) != 0 || !PATIENCE -> goto out :: else fi )
     fi
  od;
  S( if :: kept -> goto out :: name && !kept -> assert(sh == 0 && owner == NONE && believes == 0); name = false :: else fi );
  goto out                         /* deleted; the exclusive lock ends in `out` */
}

inline leave_as_owner(p) {
#ifdef LEAVEBYTE
  S( sh = sh & ~BIT(p); believes = believes & ~BIT(p) );
  S( owner = (owner == p -> NONE : owner) );
#else
  S( owner = (owner == p -> NONE : owner); believes = believes & ~BIT(p) );
  S( sh = sh & ~BIT(p) );
#endif
  removal(p)
}

proctype Owner() {
  S( name = true; kept = policy && MARKFIRST_ );
  S( if :: ex != NONE -> name = false; goto out :: else -> sh = sh | BIT(OWN) fi );
  S( if :: !name -> sh = sh & ~BIT(OWN); goto out :: else fi );
#if BORN
  S( lockf = true; owner = OWN; believes = believes | BIT(OWN); assert(believes == BIT(OWN)) );
#else
  S( lockf = true );
  S( if :: owner == NONE -> owner = OWN :: else fi; believes = believes | BIT(OWN); assert(believes == BIT(OWN)) );
#endif
  S( meta = true; head = OWN; last = OWN );
  S( kept = policy );
  S( assert(name && believes == BIT(OWN) && owner == OWN && head == OWN) );
  leave_as_owner(OWN);
out: atomic { DROP(OWN); alive-- }
}

proctype Joiner() { byte h = NONE;
  S( if :: !name -> goto out :: else fi );
  S( if :: ex != NONE -> goto out :: else -> sh = sh | BIT(JOI) fi );
#ifndef NOIDENT
  S( if :: !name -> goto out :: else fi );
#endif
  S( if :: !lockf -> goto out :: else -> joined = joined | BIT(JOI) fi );       /* no .lock: its creator has the shared lock, or a sweep comes */
#ifdef REFUSED
  S( if :: owner == NONE -> goto out :: else fi );
#else
  S( if :: owner == NONE -> goto drop :: else fi );
#endif
#ifdef FAILED
  if :: S( goto out ) :: skip fi;
#endif
  S( if :: fold == NONE && meta -> fold = JOI :: else -> goto drop fi );
  S( h = head );
  S( head = h; h = NONE );
  S( fold = NONE );
drop:
  S( assert(name); sh = sh & ~BIT(JOI) );
#if SHARE == 1
  S( joined = joined & ~BIT(JOI) );
#endif
  S( if :: owner != NONE -> goto out :: else fi );
#if SHARE == 2
  S( joined = joined & ~BIT(JOI) );
#endif
  removal(JOI);
out: atomic { DROP(JOI); h = NONE; alive-- }
}

proctype Adopter() {
  S( if :: !name -> goto out :: else fi );
#ifdef BYTEFIRST
  S( if :: !meta -> goto out :: else fi );
  S( if :: !lockf || owner != NONE -> goto out :: else -> owner = ADO fi );
#endif
  S( if :: ex != NONE -> goto out :: else -> sh = sh | BIT(ADO) fi );
#ifndef NOIDENT
  S( if :: !name -> goto out :: else fi );
#endif
#ifndef NOMETA
  S( if :: !meta -> goto refused :: else fi );
#endif
#ifdef BYTEFIRST
  S( believes = believes | BIT(ADO); assert(believes == BIT(ADO) && name) );
#else
  S( if :: !lockf || owner != NONE -> goto refused :: else -> owner = ADO fi; believes = believes | BIT(ADO); assert(believes == BIT(ADO) && name) );
#endif
#ifndef NOFOLD
  S( if :: fold == NONE -> fold = ADO :: else -> goto drop fi );
#endif
  S( meta = true; head = ADO; last = ADO );
  S( fold = (fold == ADO -> NONE : fold) );
  S( kept = policy );
  S( assert(name && believes == BIT(ADO) && owner == ADO && head == ADO) );
drop:
  leave_as_owner(ADO);
refused:
  S( sh = sh & ~BIT(ADO) );
  S( if :: owner != NONE -> goto out :: else fi );
  removal(ADO);
out: atomic { DROP(ADO); alive-- }
}

/* may take kept ones, too */
proctype Sweeper() {
  S( if :: !name -> goto out :: else fi;
     if :: sh == 0 && ex == NONE -> ex = SWP :: NOFLOCK_ -> skip :: else -> goto out fi;
     if :: owner != NONE -> goto out :: kept -> if :: goto out :: skip fi :: else fi );
  S( if :: name -> assert(sh == 0 && owner == NONE && believes == 0); name = false :: else fi );
out: atomic { DROP(SWP); alive-- }
}

/* who lists sessions takes the exclusive lock where no owner is alive */
proctype Looker() {
  S( if :: name && owner == NONE && sh == 0 && ex == NONE -> ex = LOO :: else -> goto out fi );
  S( ex = NONE );
out: atomic { DROP(LOO); alive-- }
}

init {
  atomic {
    if :: policy = true :: policy = false fi;
    alive = 5;
    run Owner(); run Joiner(); run Adopter(); run Sweeper(); run Looker()
  };
  alive == 0;
  d_step {
    assert(sh == 0 && joined == 0 && ex == NONE && owner == NONE && believes == 0);
    assert(died || !name || kept);                        /* all left in peace: removed, unless it is to stay */
    assert(!name || !kept || meta);                       /* a kept one can be adopted: nothing is stuck */
    assert(head == last)                                  /* nobody brought back an older head */
  }
}
