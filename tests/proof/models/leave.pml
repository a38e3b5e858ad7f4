/* leaving a session: the owner drops its lock on .lock, then everybody's shared lock on the directory; who joined drops its share
   of .lock's byte of those who joined, then looks at the owner's byte, and leaves removing to an owner that is alive. Then the
   removal step. Where its exclusive lock is refused and somebody else has a share of that byte, that one removes; else somebody is
   looking or removing, and it is tried again (in the library for 50 ms, here for ever).
   LOOK=1, as in detail/session/life.hpp: who joined looks at the owner's byte after dropping its locks.
   Must hold: -DLOOK=0 (and the removal step looks), -DPROBE=1 (a prober that takes the exclusive lock), -DPATIENCE=0 (not tried again)
   Must fail: -DPATIENCE=0 -DLOOK=0 -DORDER=2 (shared lock dropped first), -DLOOK=2 (who joined looks before dropping its lock),
   -DPROBE=1 -DPATIENCE=0, -DPROBE=1 -DSHARE=2 (the share dropped behind the look) */
#ifndef LOOK
#define LOOK 1
#endif
#ifndef ORDER
#define ORDER 1
#endif
#ifndef PROBE
#define PROBE 0
#endif
#ifndef PATIENCE
#define PATIENCE 1
#endif
#ifndef SHARE
#define SHARE 1
#endif
#define BIT(p) (1 << (p))
byte sh=3; bool ex=false, ofd=true, exists=true; byte joined=6; byte alive=3+PROBE;
inline tryrm(p){ do
 :: atomic{ if :: sh==0 && !ex -> ex=true; got=true :: else -> got=false fi };
    if :: got -> if :: ofd -> skip :: else -> exists=false fi; ex=false; break
       :: else -> if :: (joined & ~BIT(p)) != 0 || !PATIENCE -> break :: else -> skip fi
    fi
 od }
proctype Owner(){ bool got;
 if :: ORDER==1 -> ofd=false; sh-- :: ORDER==2 -> sh--; ofd=false fi; tryrm(0); alive-- }
proctype Joiner(byte p){ bool got; bool skips=false;
 if :: LOOK==2 -> skips=ofd :: else fi;
 sh--;
 if :: SHARE==1 -> joined = joined & ~BIT(p) :: else fi;
 if :: LOOK==1 -> skips=ofd :: else fi;
 if :: SHARE==2 -> joined = joined & ~BIT(p) :: else fi;
 if :: skips -> skip :: else -> tryrm(p) fi; alive-- }
proctype Probe(){ bool got; atomic{ if :: sh==0 && !ex -> ex=true; got=true :: else -> got=false fi }; if :: got -> ex=false :: else fi; alive-- }
init{ atomic{ run Owner(); run Joiner(1); run Joiner(2); if :: PROBE -> run Probe() :: else fi }; alive==0; assert(!exists) }
