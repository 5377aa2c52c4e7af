/* The wake-up protocol of pro_post (src/core/op.c) and a turn that waits (src/core/loop.c).
 *
 * Posters push and then take the flag "asleep" down; who finds it up wakes the engine.  The loop puts
 * the flag up before it looks at the stack for the last time.  Every statement here is one
 * sequentially consistent step, as in the code; only the loop's "asleep = false" is weaker there,
 * which can do no more than cost a wake-up that was not needed.
 *
 * Checked: no execution in which the loop waits for ever while something is posted (an invalid end
 * state), and nothing is taken twice.  With BROKEN set to 1 the loop does not look a second time, with
 * 2 the poster looks at the flag before it pushes: both must be found. */
#ifndef BROKEN
#define BROKEN 0
#endif

#define POSTERS 3
#define POSTS 2 /* of each */

byte stack;
bool asleep, event; /* event: the engine's, which stays up until a wait takes it */
byte taken;
bool stop;

inline wake_if_asleep()
{
    if
    :: asleep -> /* only a look */
        atomic { was_asleep = asleep; asleep = false }
        if
        :: was_asleep -> event = true
        :: else
        fi
    :: else
    fi
}

active [POSTERS] proctype poster()
{
    byte n = 0;
    bool was_asleep;
    do
    :: n == POSTS -> break
    :: else ->
#if BROKEN == 2
        wake_if_asleep();
        stack++;
#else
        stack++; /* compare-and-swap */
        wake_if_asleep();
#endif
        n++
    od
}

active proctype loop()
{
    byte got;
    do
    :: taken == POSTERS * POSTS -> break
    :: else ->
        asleep = true;
        if
#if BROKEN != 1
        :: stack > 0 -> skip /* poll */
#endif
        :: (BROKEN == 1 || stack == 0) -> (event); event = false
        fi;
        asleep = false;
        atomic { got = stack; stack = 0 } /* exchange */
        taken = taken + got;
        assert(taken <= POSTERS * POSTS)
    od
}
