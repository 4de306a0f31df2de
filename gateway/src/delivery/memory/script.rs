//! What the pretended Kafka answers, call after call.

use std::collections::VecDeque;

/// The answer to one publish call or one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored, and the caller hears it.
    Taken,
    /// Not stored; the caller hears that Kafka does not confirm.
    Lost,
    /// Stored, but the caller hears that Kafka does not confirm.
    TakenUnheard,
    /// Never to be stored: the caller has to make a dead letter. Dead letters themselves are taken.
    Refused,
}

/// A sequence of answers.
#[derive(Clone, Debug)]
pub struct Script {
    first: VecDeque<Answer>,
    then: Then,
}

#[derive(Clone, Debug)]
enum Then {
    Always(Answer),
    Random { state: u64 },
}

impl Script {
    /// The same answer for ever.
    pub fn always(answer: Answer) -> Self {
        Self { first: VecDeque::new(), then: Then::Always(answer) }
    }

    /// These answers, then [`Answer::Taken`].
    pub fn first(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { first: answers.into_iter().collect(), then: Then::Always(Answer::Taken) }
    }

    /// Kafka is away for `calls` calls.
    pub fn outage(calls: usize) -> Self {
        Self::first(std::iter::repeat_n(Answer::Lost, calls))
    }

    /// Any answer at any time, half of them good; the same seed gives the same answers.
    pub fn random(seed: u64) -> Self {
        Self { first: VecDeque::new(), then: Then::Random { state: seed } }
    }

    pub(super) fn next(&mut self) -> Answer {
        if let Some(answer) = self.first.pop_front() {
            return answer;
        }
        match &mut self.then {
            Then::Always(answer) => *answer,
            Then::Random { state } => match splitmix(state) % 8 {
                0 => Answer::Lost,
                1 => Answer::TakenUnheard,
                2 => Answer::Refused,
                _ => Answer::Taken,
            },
        }
    }
}

/// Sebastiano Vigna's splitmix64.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_repeatable() {
        let mut script = Script::outage(2);
        assert_eq!([script.next(), script.next(), script.next()], [Answer::Lost, Answer::Lost, Answer::Taken]);
        let run = |seed| {
            let mut script = Script::random(seed);
            std::array::from_fn::<_, 64, _>(|_| script.next())
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        for answer in [Answer::Taken, Answer::Lost, Answer::TakenUnheard, Answer::Refused] {
            assert!(run(7).contains(&answer), "{answer:?}");
        }
    }
}
