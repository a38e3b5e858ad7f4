/* leaving a session: the owner drops its lock on .lock, then everybody's shared lock on the directory, then tries the removal step.
   LOOK=1, as in session_life.hpp: who joined looks at the owner's byte after dropping its lock, and leaves removing to an
   owner that is alive.
   Must fail: -DLOOK=0 -DORDER=2 (shared lock dropped first), -DPROBE=1 (a prober that takes the exclusive lock; the
   library tries again for 50 ms, which is not modelled), -DLOOK=2 (who joined looks before dropping its lock) */
#ifndef LOOK
#define LOOK 1
#endif
#ifndef ORDER
#define ORDER 1
#endif
#ifndef PROBE
#define PROBE 0
#endif
byte sh=3; bool ex=false, ofd=true, exists=true; byte alive=3+PROBE;
inline tryrm(){ atomic{ if :: sh==0 && !ex -> ex=true; got=true :: else -> got=false fi };
 if :: got -> if :: ofd -> skip :: else -> exists=false fi; ex=false :: else fi }
proctype Owner(){ bool got;
 if :: ORDER==1 -> ofd=false; sh-- :: ORDER==2 -> sh--; ofd=false fi; tryrm(); alive-- }
proctype Joiner(){ bool got; bool skips=false;
 if :: LOOK==2 -> skips=ofd :: else fi;
 sh--;
 if :: LOOK==1 -> skips=ofd :: else fi;
 if :: skips -> skip :: else -> tryrm() fi; alive-- }
proctype Probe(){ bool got; atomic{ if :: sh==0 && !ex -> ex=true; got=true :: else -> got=false fi }; if :: got -> ex=false :: else fi; alive-- }
init{ atomic{ run Owner(); run Joiner(); run Joiner(); if :: PROBE -> run Probe() :: else fi }; alive==0; assert(!exists) }
