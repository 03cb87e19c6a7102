//! Which worker has which sessions: as few threads as the work needs.
//!
//! One busy thread finds more to do at each wake-up than two half idle ones, which sleep and wake for each message: with a few clients that is a
//! fifth of a proxy's CPU time. So sessions stay together until their thread has hardly any time left, and come together again when one
//! thread has time enough for all. Pure: numbers in, advice out.

use std::time::Duration;

/// A share of a thread's time, or of its sessions' turns, in thousandths.
pub type Mille = u32;

/// How long a thread's time is looked at before anything is concluded.
pub const WINDOW: Duration = Duration::from_millis(50);

/// A worker that has not reported for so long has next to nothing to do.
pub const STALE: Duration = Duration::from_millis(500);

/// From here on a thread is crowded: it gives sessions away.
const CROWDED: Mille = 850;
/// Up to here newcomers join those that are there.
const WELCOME: Mille = 700;
/// Two threads that together are no busier than this become one. Far below [`CROWDED`], so that sessions don't go back and forth.
const TOGETHER: Mille = 500;
/// A thread gives sessions away only to one that is less busy by so much.
const WORTH_IT: Mille = 200;
/// Windows of calm before sessions come together.
const CALM: u32 = 10;

/// What a worker should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing.
    Stay,
    /// Give sessions away that make up this share of its turns.
    Give {
        /// The worker that gets them.
        to: usize,
        /// How much.
        share: Mille,
    },
}

/// One worker's view of how it goes.
#[derive(Default)]
pub struct Balance {
    calm: u32,
}

impl Balance {
    /// At the end of a window: `busy` is how much of its time each worker needed, `me` who asks.
    pub fn advise(&mut self, me: usize, busy: &[Mille]) -> Advice {
        let Some(&mine) = busy.get(me) else {
            return Advice::Stay;
        };
        let others = || busy.iter().copied().enumerate().filter(|(n, _)| *n != me);
        if mine >= CROWDED {
            self.calm = 0;
            return match others().min_by_key(|(_, busy)| *busy) {
                Some((to, theirs)) if theirs + WORTH_IT <= mine => Advice::Give {
                    to,
                    share: (mine - theirs) * 500 / mine,
                },
                _ => Advice::Stay,
            };
        }
        // Together in the first that has room, so that all agree where.
        let together = others()
            .filter(|(n, _)| *n < me)
            .find(|(_, theirs)| theirs + mine <= TOGETHER);
        match together {
            Some((to, _)) if self.calm >= CALM => {
                self.calm = 0;
                Advice::Give { to, share: 1000 }
            }
            Some(_) => {
                self.calm += 1;
                Advice::Stay
            }
            None => {
                self.calm = 0;
                Advice::Stay
            }
        }
    }
}

/// Where a new session goes.
pub fn newcomer(busy: &[Mille]) -> usize {
    busy.iter()
        .position(|busy| *busy <= WELCOME)
        .or_else(|| busy.iter().enumerate().min_by_key(|(_, busy)| **busy).map(|(n, _)| n))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowded_worker_gives_half_of_the_difference_to_the_least_busy() {
        let give = |me: usize, busy: &[Mille]| Balance::default().advise(me, busy);
        assert_eq!(give(0, &[1000, 0]), Advice::Give { to: 1, share: 500 });
        assert_eq!(give(0, &[1000, 600, 200]), Advice::Give { to: 2, share: 400 });
        assert_eq!(give(1, &[0, 900]), Advice::Give { to: 0, share: 500 });
        assert_eq!(give(0, &[900, 800]), Advice::Stay, "not worth it");
        assert_eq!(give(0, &[840, 0]), Advice::Stay, "not crowded");
        assert_eq!(give(0, &[1000]), Advice::Stay, "nobody else");
        assert_eq!(give(7, &[1000]), Advice::Stay);
    }

    #[test]
    fn workers_with_little_to_do_come_together_after_a_while() {
        let mut balance = Balance::default();
        for _ in 0..CALM {
            assert_eq!(balance.advise(1, &[200, 100]), Advice::Stay);
        }
        assert_eq!(balance.advise(1, &[200, 100]), Advice::Give { to: 0, share: 1000 });
        assert_eq!(balance.advise(1, &[200, 100]), Advice::Stay, "from the beginning");
        assert_eq!(
            Balance::default().advise(0, &[100, 200]),
            Advice::Stay,
            "the first stays"
        );
    }

    #[test]
    fn a_busy_moment_starts_the_wait_again() {
        let mut balance = Balance::default();
        for _ in 0..CALM {
            assert_eq!(balance.advise(1, &[200, 100]), Advice::Stay);
        }
        assert_eq!(balance.advise(1, &[450, 100]), Advice::Stay);
        assert_eq!(balance.advise(1, &[200, 100]), Advice::Stay);
    }

    #[test]
    fn what_was_given_is_not_given_back_at_once() {
        // One session's worth of work moved: both thirds of it are above what brings workers together.
        let Advice::Give { to: 1, share } = Balance::default().advise(0, &[CROWDED, 0]) else {
            panic!("crowded");
        };
        let moved = CROWDED * share / 1000;
        let mut balance = Balance::default();
        for _ in 0..=CALM {
            assert_eq!(balance.advise(1, &[CROWDED - moved, moved]), Advice::Stay);
        }
    }

    #[test]
    fn newcomers_join_the_first_that_has_time() {
        assert_eq!(newcomer(&[0, 0]), 0);
        assert_eq!(newcomer(&[WELCOME, 0]), 0);
        assert_eq!(newcomer(&[WELCOME + 1, 300, 0]), 1);
        assert_eq!(newcomer(&[900, 800, 850]), 1);
        assert_eq!(newcomer(&[]), 0);
    }
}
