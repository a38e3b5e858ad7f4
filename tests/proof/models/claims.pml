/* merge k tables into one in one pass, exactly once: one nonce on all k claims and in the header of the sum.
   Two mergers whose tables overlap, each run again after a death or a refusal; an opener takes a table, recovers what concerns it and
   commits it anew (absorbed = 0). A process dies before any step, and the kernel drops its locks; calls fail for sure, and a commit
   fails although it happened. A table is the set of those whose counts are in it: in the end each is in one table, and in one only.
   CASE   merger 1      merger 2
   0      a b c -> t    c d -> u
   1      a b c -> t    c d -> t
   2      a b c -> t    d t -> c
   3      a b c -> t    c t -> u, and t is not there at first
   K=3 as above; K=2, what it is: without a, which takes half as long
   POWER=1 (with TRIES=1): at any moment the power goes; then each name is, by itself, as it was at the last fsync or as it is.

   To merge B1 ... Bk into A:
   1. Lock the names of A and of all B, in the order of the names, without waiting; one is held: let go of all, busy.
   2. Recover every claim of or into any of these names. A B that is gone is passed over; none left: done.
   3. Write the sum, unnamed. absorbed = the nonce, one for all: random, not 0, not what A has absorbed.
   4. Claim each B: rename it to .scratch-claim.<nonce>.<length of A>.<A>.<B>, replacing nothing. One fails: undo those made.
   5. Durable: fsync the directory. From 6 on none of the claims may be missing.
   6. Commit: the sum takes the name A. That is the moment. It fails: look at A, and only where it has not the nonce undo the claims.
   7. Durable: fsync the directory. From 8 on the sum may not be missing.
   8. Remove the claims, in any order. 9. Unlock.
   To recover a claim (nonce, A, B), whoever made it: hold the locks of A and B. A is there and has absorbed the nonce: (Durable: fsync the
   directory, then) remove the claim; else rename it back. Each claim by itself, in any order. Durable: fsync again behind the last one,
   before A is changed. A has room for one nonce: it is not changed, claimed, or taken away before every claim into it was recovered.

   The same numbers stand in detail/count/merge/claim.hpp, where recovering is R1 to R4.

   Must hold: -DCASE=0, 1, 2, 3; each with -DWAIT=1 (1 waits); each with -DPOWER=1 -DTRIES=1; -DONELOCK=1 (who recovers holds one of the two locks)
   Must fail: -DNONCES=1 (a nonce for each claim) -DEARLY=1 (6 behind the first claim) -DDROPFIRST=1 (8 before 6) -DONECLAIM=1 (2 recovers one claim)
   -DCASE=2 -DINTO=0 (2 passes over claims into the B) -DCASE=0 -DOFB=0 (over those of the B) -DNOLOCKS=1 (an opener recovers all claims
   that it finds, with no locks) -DUNCLAIM=2 (6 failed: undone without a look) -DORDER=0 (merger 2 locks the other way round: both are
   refused) -DORDER=0 -DWAIT=1 (both hang); with -DPOWER=1 -DTRIES=1: -DNOSYNC5=1 -DNOSYNC7=1 -DNOSYNCR=1 (no fsync before a claim
   is removed in recovering) -DNOSYNCE=1 (none behind that) */
#ifndef CASE
#define CASE 1
#endif
#ifndef K
#define K 2
#endif
#ifndef INTO
#define INTO 1
#endif
#ifndef OFB
#define OFB 1
#endif
#ifndef UNCLAIM
#define UNCLAIM 1
#endif
#ifndef ORDER
#define ORDER 1
#endif
#ifndef TRIES
#define TRIES 2
#endif
#ifdef NOLOCKS
#define LOCKS 0
#define NOBODYS 1
#else
#define NOBODYS 0
#endif
#ifdef ONELOCK
#define LOCKS 0
#endif
#ifndef LOCKS
#define LOCKS 1
#endif
#ifndef WAIT
#define WAIT 0
#endif
#ifdef NONCES
#define NEXT_NONCE nonce = nn; nn++;
#else
#define NEXT_NONCE
#endif
#ifdef ONECLAIM
#define AFTER(i) N
#else
#define AFTER(i) i + 1
#endif
#define NONE 15
#define N 6
#define GONE 0
#define NAMED 1
#define CLAIMED 2
#define BIT(t) (1 << (t))
#ifdef POWER
#define S(x) if :: atomic { died = true; goto out } :: atomic { !cut; x } fi
#else
#define S(x) if :: atomic { died = true; goto out } :: atomic { true; x } fi   /* `true`: a bare `else` would see the death beside it */
#endif

byte st[N];                 /* GONE, NAMED, CLAIMED */
byte has[N];                /* whose counts are in it */
byte absorbed[N];           /* 0: no nonce */
byte target[N], nonce_of[N]; /* what the claim's name says */
byte lk[N];                 /* who holds the name's lock */
byte nn = 1;                /* the next nonce */
byte alive, all_counts;
bool died, failed, progress;

#define HAPPENED(t) (st[target[t]] == NAMED && absorbed[target[t]] == nonce_of[t])

inline unlock_all(me) {
  for (j : 0 .. N - 1) { if :: lk[j] == me -> lk[j] = NONE :: else fi }; j = 0
}
inline recover(t) {
  if :: HAPPENED(t) -> st[t] = GONE :: else -> st[t] = NAMED fi; target[t] = 0; nonce_of[t] = 0
}

#ifdef POWER
bool cut;
byte d_st[N], d_has[N], d_absorbed[N], d_target[N], d_nonce[N];   /* what outlives a power cut */
inline sync() {
  for (j : 0 .. N - 1) { d_st[j] = st[j]; d_has[j] = has[j]; d_absorbed[j] = absorbed[j]; d_target[j] = target[j]; d_nonce[j] = nonce_of[j] };
  j = 0
}
proctype Power() { byte j = 0;
end:
  atomic {
    alive > 0;
    cut = true;
    for (j : 0 .. N - 1) {
      if :: st[j] = d_st[j]; has[j] = d_has[j]; absorbed[j] = d_absorbed[j]; target[j] = d_target[j]; nonce_of[j] = d_nonce[j] :: skip fi
    }; j = 0
  }
}
#endif

/* Does the claim on x concern the names in `mine`? `ins` are those to be claimed. */
#define CONCERNS(x) (st[x] == CLAIMED && ( \
  ((ins & BIT(x)) && OFB) || (!(ins & BIT(x)) && (mine & BIT(x))) || \
  ((ins & BIT(target[x])) && INTO) || (!(ins & BIT(target[x])) && (mine & BIT(target[x])))))

/* 2: one claim after the other; a name that is not ours is locked for as long as that takes */
#define IN_THE_WAY(t) (lk[t] != NONE && lk[t] != me)
#define TAKE(t) lk[t] = (mine & BIT(t) -> lk[t] : me)
#define GIVE(t) lk[t] = (mine & BIT(t) -> lk[t] : NONE)
inline recover_all() {
  i = 0;
  do
  :: i < N ->
     S( do :: i < N && !CONCERNS(i) -> i++ :: else -> break od;
        if
        :: i == N -> skip
        :: i < N && LOCKS && (IN_THE_WAY(i) || IN_THE_WAY(target[i])) -> goto busy
        :: else -> if :: LOCKS -> TAKE(i); TAKE(target[i]) :: else fi;
                   nonce = nonce_of[i]; into_ = target[i]; happened = HAPPENED(i)
        fi );
#ifdef POWER
#ifndef NOSYNCR
     if :: happened -> S( sync() ) :: else fi;
#endif
#endif
     if
     :: i < N -> S( if :: st[i] == CLAIMED && nonce_of[i] == nonce -> st[i] = (happened -> GONE : NAMED); target[i] = 0; nonce_of[i] = 0 :: else fi;
                    if :: LOCKS -> GIVE(i); GIVE(into_) :: else fi;
                    nonce = 0; into_ = 0; happened = false; i = AFTER(i) )
     :: else
     fi
  :: else -> break
  od;
#ifdef POWER
#ifndef NOSYNCE
  S( sync() );
#endif
#endif
  i = 0
}

#define AT(k) (ORDER || me == 1 -> (k) : N - 1 - (k))

proctype Merger(byte me; byte ins0; byte into) { byte i = 0, j = 0, n = 0, tries = TRIES, ins = 0, mine = 0, nonce = 0, sum = 0, into_ = 0; bool happened = false;
next:
  atomic { i = 0; n = 0; nonce = 0; sum = 0; ins = 0; mine = 0; into_ = 0; happened = false;
           if :: tries == 0 -> goto out :: else -> tries--; ins = ins0; mine = ins0 | BIT(into) fi };
  /* 1 */
  do
  :: i < N ->
     S( do :: i < N && !(mine & BIT(AT(i))) -> i++ :: else -> break od;
        if
        :: i == N -> skip
        :: i < N && lk[AT(i)] == NONE -> lk[AT(i)] = me; i++
        :: i < N && lk[AT(i)] != NONE && !WAIT -> goto busy
        fi )
  :: else -> break
  od;
  recover_all();
  /* 3 */
  S( sum = (st[into] == NAMED -> has[into] : 0);
     for (j : 0 .. N - 1) {
       if
       :: (ins & BIT(j)) && st[j] == NAMED -> assert((sum & has[j]) == 0); sum = sum | has[j]
       :: (ins & BIT(j)) && st[j] != NAMED -> assert(st[j] == GONE); ins = ins & ~BIT(j)
       :: else
       fi
     }; j = 0;
     if :: ins == 0 -> progress = true; goto busy :: else fi;
     nonce = nn; nn++; i = 0 );
  /* 4 */
  do
  :: i < N ->
     S( do :: i < N && !(ins & BIT(i)) -> i++ :: else -> break od;
        if
        :: i == N -> skip
        :: i < N -> st[i] = CLAIMED; target[i] = into; NEXT_NONCE nonce_of[i] = nonce; i++; n++
        :: i < N -> failed = true; goto undo
        fi );
#ifdef EARLY
     if :: n == 1 -> S( has[into] = sum; absorbed[into] = nonce; st[into] = NAMED; n++ ) :: else fi
#endif
  :: else -> break
  od;
#ifdef DROPFIRST
  i = 0;
  do
  :: i < N -> S( do :: i < N && !(ins & BIT(i)) -> i++ :: else -> break od;
                 if :: i == N -> skip :: else -> st[i] = GONE; target[i] = 0; nonce_of[i] = 0; i++ fi )
  :: else -> break
  od;
#endif
  /* 5 */
#ifdef POWER
#ifndef NOSYNC5
  S( sync() );
#endif
#endif
  /* 6 */
#ifndef EARLY
  S( if
     :: has[into] = sum; absorbed[into] = nonce; st[into] = NAMED; i = 0
     :: failed = true; goto undo
     :: has[into] = sum; absorbed[into] = nonce; st[into] = NAMED; failed = true; i = 0;       /* it says that it failed */
        if :: UNCLAIM == 2 -> goto undo :: else -> goto busy fi                                   /* looked: it happened; whoever recovers */
     fi );
#endif
  /* 7 */
#ifdef POWER
#ifndef NOSYNC7
  S( sync() );
#endif
#endif
  /* 8 */
  i = 0;
  do
  :: i < N ->
     S( do :: i < N && !(ins & BIT(i)) -> i++ :: else -> break od;
        if :: i == N -> skip :: else -> st[i] = GONE; target[i] = 0; nonce_of[i] = 0; i++ fi )
  :: else -> break
  od;
  S( progress = true );
busy:
  S( unlock_all(me) );                                                                            /* 9 */
  goto next;
undo:
  i = 0;
  do
  :: i < N ->
     S( do :: i < N && !((ins & BIT(i)) && st[i] == CLAIMED && nonce_of[i] == nonce) -> i++ :: else -> break od;
        if :: i == N -> skip :: else -> st[i] = NAMED; target[i] = 0; nonce_of[i] = 0; i++ fi )
  :: else -> break
  od;
  goto busy;
out:
  atomic { unlock_all(me);
#ifdef POWER
    if :: tries > 0 && !cut -> goto next :: else fi;
#else
    if :: tries > 0 -> goto next :: else fi;                                                      /* another process runs the job again */
#endif
    i = 0; n = 0; nonce = 0; sum = 0; ins = 0; mine = 0; into_ = 0; happened = false; alive-- }
}

/* CountTable, adding to a table that is there */
proctype Opener(byte me) { byte i = 0, j = 0, ins = 0, mine = 0, t = 0, nonce = 0, into_ = 0; bool happened = false;
  if :: t = 3 - K :: t = 2 :: t = 4 fi;
  S( mine = (NOBODYS -> 63 : BIT(t)); if :: lk[t] == NONE -> lk[t] = me :: else -> goto busy fi );
  recover_all();
  S( if :: st[t] == NAMED -> absorbed[t] = 0 :: else fi; progress = true );
#ifdef POWER
  S( sync() );
#endif
busy:
  S( unlock_all(me) );
out:
  atomic { unlock_all(me); i = 0; mine = 0; t = 0; nonce = 0; into_ = 0; happened = false; alive-- }
}

init { byte i, j;
  atomic {
    for (i : 0 .. N - 1) { st[i] = NAMED; has[i] = BIT(i); lk[i] = NONE };
    if :: CASE == 3 -> st[4] = GONE; has[4] = 0 :: else fi;
    all_counts = (CASE == 3 -> 63 - 16 : 63);
#ifdef POWER
    sync();
    run Power();
#endif
    alive = 3;
    run Merger(1, (K == 3 -> 7 : 6), 4);
    if
    :: CASE == 0 -> run Merger(2, 12, 5)
    :: CASE == 1 -> run Merger(2, 12, 4)
    :: CASE == 2 -> run Merger(2, 24, 2)
    :: CASE == 3 -> run Merger(2, 20, 5)
    fi;
    run Opener(3)
  };
  alive == 0;
  d_step {
    assert(died || failed || progress);                                                           /* not all were refused */
    for (i : 0 .. N - 1) { assert(lk[i] == NONE); if :: st[i] == CLAIMED -> recover(i) :: else fi };
    j = 0;
    for (i : 0 .. N - 1) { if :: st[i] == NAMED -> assert((j & has[i]) == 0); j = j | has[i] :: else fi };
    assert(j == all_counts)
  }
}
