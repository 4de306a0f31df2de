//! Each fault is planted and must be found; what the contract allows must not be blamed.

use super::*;
use crate::ledger::{Answer, Input};

/// A run without a fault: two webhook conversations, a mail thread, a call.
#[derive(Clone)]
struct Run {
    ledger: Ledger,
    copies: Vec<Copy>,
}

fn input(class: Class, conversation: &str, place: u64) -> Input {
    Input { class, conversation: conversation.into(), place, digest: format!("{conversation}{place}") }
}

fn copy(id: &str, digest: &str, received_at: Millis, partition: i32, offset: i64) -> Copy {
    let event_id = format!("event of {id}");
    Copy { id: id.into(), event_id, digest: Some(digest.into()), received_at, partition, offset }
}

impl Run {
    fn new() -> Self {
        let mut run = Self { ledger: Ledger::default(), copies: Vec::new() };
        for n in 0..4 {
            let at = 1_000 * n;
            for (partition, conversation) in ["a", "b"].into_iter().enumerate() {
                let (id, place) = (format!("{conversation}{n}"), n as u64);
                run.ledger.offer(&id, input(Class::Push, conversation, place));
                run.deliver(&id, 0, at, at + 100, Answer::Safe);
                run.copies.push(copy(&id, &id, at + 10, partition as i32, n));
            }
            for (partition, class, conversation) in [(2, Class::Replay, "mail"), (3, Class::Live, "call")] {
                let id = format!("{conversation}{n}");
                run.ledger.offer(&id, input(class, conversation, n as u64));
                run.ledger.owe(&id);
                run.copies.push(copy(&id, &id, at, partition, n));
            }
        }
        run
    }

    fn deliver(&mut self, id: &str, replica: usize, begun: Millis, ended: Millis, answer: Answer) {
        let attempt = self.ledger.begin(id, replica, begun);
        self.ledger.end(id, &attempt, ended, answer);
    }

    fn find(&mut self, id: &str) -> &mut Copy {
        self.copies.iter_mut().find(|copy| copy.id == id).expect("is there")
    }

    fn judge_with(&self, rules: &Rules) -> Verdict {
        judge(&self.ledger, &self.copies, rules)
    }

    fn judge(&self) -> Verdict {
        self.judge_with(&Rules::default())
    }
}

/// Exactly this many of each: lost, doubled, reordered, corrupted, invented, ids.
fn found(verdict: &Verdict, counts: [usize; 6]) {
    assert_eq!(verdict.faults().map(|(_, found)| found.len()), counts, "{verdict}");
    assert_eq!(verdict.is_clean(), counts == [0; 6]);
}

#[test]
fn a_clean_run_is_clean() {
    let verdict = Run::new().judge();
    found(&verdict, [0; 6]);
    assert_eq!((verdict.neighbours, verdict.promised, verdict.repeated, verdict.ambiguous), (12, 0, 0, 0));
}

#[test]
fn a_loss_of_each_class_is_found() {
    for id in ["a2", "mail1", "call3"] {
        let mut run = Run::new();
        run.copies.retain(|copy| copy.id != id);
        let verdict = run.judge();
        assert_eq!(verdict.lost, [id]);
        found(&verdict, [1, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn what_was_not_answered_may_be_missing_or_there() {
    let mut run = Run::new();
    for (id, answer) in [("a4", Answer::NotSafe), ("a5", Answer::Cut), ("a6", Answer::Silence)] {
        run.ledger.offer(id, input(Class::Push, "a", id.as_bytes()[1].into()));
        run.deliver(id, 0, 5_000, 5_100, answer);
    }
    found(&run.judge(), [0; 6]);
    run.ledger.offer("mail9", input(Class::Replay, "mail", 9));
    let digest = format!("a{}", b'6');
    run.copies.push(copy("a6", &digest, 9_000, 0, 9));
    found(&run.judge(), [0; 6]);
}

#[test]
fn a_dead_letter_is_an_arrival() {
    let mut run = Run::new();
    run.find("b1").digest = None;
    let verdict = run.judge();
    found(&verdict, [0; 6]);
    assert_eq!(verdict.letters, 1);
}

#[test]
fn a_corruption_is_found() {
    for id in ["a2", "mail1", "call3"] {
        let mut run = Run::new();
        run.find(id).digest = Some("garbled".into());
        found(&run.judge(), [0, 0, 0, 1, 0, 0]);
    }
}

#[test]
fn an_invention_is_found() {
    let mut run = Run::new();
    run.copies.push(copy("nobody", "nobody", 0, 0, 90));
    found(&run.judge(), [0, 0, 0, 0, 1, 0]);
    // A second copy at a moment when nobody delivered it.
    let mut run = Run::new();
    run.copies.push(copy("a2", "a2", 2_500, 0, 90));
    found(&run.judge(), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn ids_that_change_or_clash_are_found() {
    let mut run = Run::new();
    run.deliver("a2", 1, 2_200, 2_300, Answer::Safe);
    run.copies.push(Copy { event_id: "another".into(), ..copy("a2", "a2", 2_210, 0, 90) });
    found(&run.judge(), [0, 0, 0, 0, 0, 1]);
    let mut run = Run::new();
    run.find("a2").event_id = "event of b2".into();
    found(&run.judge(), [0, 0, 0, 0, 0, 1]);
}

#[test]
fn a_doubled_mail_is_found() {
    let mut run = Run::new();
    run.copies.push(copy("mail3", "mail3", 3_000, 2, 90));
    found(&run.judge(), [0, 1, 0, 0, 0, 0]);
}

#[test]
fn a_copy_of_a_late_redelivery_is_found_on_any_replica() {
    for replica in [0, 1] {
        let mut run = Run::new();
        // Its 2xx came at 2,100.
        run.deliver("a2", replica, 7_100, 7_200, Answer::Safe);
        assert_eq!(run.judge().promised, 1);
        found(&run.judge(), [0; 6]);
        run.copies.push(copy("a2", "a2", 7_110, 0, 90));
        found(&run.judge(), [0, 1, 0, 0, 0, 0]);
        // Also where it stands before the copy of the first delivery, which a spool held.
        run.find("a2").offset = 99;
        run.copies.retain(|copy| copy.id != "a3");
        found(&run.judge(), [1, 1, 0, 0, 0, 0]);
    }
}

#[test]
fn replicas_that_cannot_hear_each_other_are_excused_until_they_can() {
    let disturbed = |until| Rules { disturbed: vec![(2_050, until)], ..Rules::default() };
    for replica in [0, 1] {
        let mut run = Run::new();
        // Its 2xx came at 2,100 from replica 0.
        run.deliver("a2", replica, 9_000, 9_100, Answer::Safe);
        run.copies.push(copy("a2", "a2", 9_010, 0, 90));
        // Long enough before the redelivery it was over, or it does not matter to who answered the first.
        found(&run.judge_with(&disturbed(4_000)), [0, 1, 0, 0, 0, 0]);
        let verdict = run.judge_with(&disturbed(4_001));
        found(&verdict, if replica == 0 { [0, 1, 0, 0, 0, 0] } else { [0; 6] });
        assert_eq!((verdict.promised, verdict.unheard, verdict.unheard_copies), [(1, 0, 0), (0, 1, 1)][replica]);
    }
}

#[test]
fn one_copy_is_none_too_many_whichever_delivery_it_is_of() {
    let mut run = Run::new();
    run.deliver("a2", 1, 9_100, 9_200, Answer::Safe);
    run.find("a2").received_at = 9_110;
    let verdict = run.judge();
    assert!(verdict.doubled.is_empty() && verdict.lost.is_empty(), "{verdict}");
}

#[test]
fn copies_that_d4_does_not_rule_out_are_counted_only() {
    let mut run = Run::new();
    // One millisecond too early.
    run.deliver("a2", 1, 7_099, 7_200, Answer::Safe);
    run.copies.push(copy("a2", "a2", 7_150, 0, 90));
    // Tried before, at another replica, which was killed: its copy comes late from its spool.
    run.ledger.offer("b9", input(Class::Push, "b", 9));
    run.deliver("b9", 1, 8_000, 8_050, Answer::Cut);
    run.deliver("b9", 0, 8_060, 8_100, Answer::Safe);
    run.copies.push(copy("b9", "b9", 8_070, 1, 90));
    run.copies.push(copy("b9", "b9", 8_010, 1, 99));
    // Sent twice, because its confirmation was lost.
    run.copies.push(copy("b3", "b3", 3_010, 1, 98));
    let verdict = run.judge();
    found(&verdict, [0; 6]);
    assert_eq!((verdict.repeated, verdict.ambiguous, verdict.promised), (2, 1, 0));
}

#[test]
fn a_copy_of_a_delivery_that_was_given_up_is_excused_for_ever() {
    let mut run = Run::new();
    run.deliver("a2", 1, 2_050, 2_500, Answer::Silence);
    run.copies.push(copy("a2", "a2", 60_000, 0, 90));
    let verdict = run.judge();
    found(&verdict, [0; 6]);
    assert_eq!(verdict.repeated, 1);
}

#[test]
fn a_reorder_of_each_class_is_found() {
    for (id, other) in [("a1", "a2"), ("mail1", "mail2"), ("call1", "call2")] {
        let mut run = Run::new();
        let (first, second) = (run.find(id).offset, run.find(other).offset);
        run.find(id).offset = second;
        run.find(other).offset = first;
        assert!(!run.judge().reordered.is_empty());
        let verdict = run.judge();
        assert_eq!(verdict.faults().map(|(_, found)| !found.is_empty()), [false, false, true, false, false, false]);
    }
}

#[test]
fn a_conversation_lies_in_one_partition() {
    let mut run = Run::new();
    run.find("a3").partition = 7;
    found(&run.judge(), [0, 0, 1, 0, 0, 0]);
}

#[test]
fn across_replicas_and_without_a_2xx_before_it_no_order_is_promised() {
    // The third came by another replica.
    let mut run = Run::new();
    run.ledger.offer("a4", input(Class::Push, "a", 4));
    run.deliver("a4", 1, 4_000, 4_100, Answer::Safe);
    run.copies.push(copy("a4", "a4", 4_010, 0, -1));
    found(&run.judge(), [0; 6]);
    // Sent before the one before it was answered.
    run.ledger.offer("b4", input(Class::Push, "b", 4));
    run.deliver("b4", 0, 3_050, 4_100, Answer::Safe);
    run.copies.push(copy("b4", "b4", 3_060, 1, -1));
    found(&run.judge(), [0; 6]);
}

#[test]
fn a_late_copy_of_another_replica_does_not_count_for_order() {
    let mut run = Run::new();
    // The first was tried at replica 1, then taken by replica 0: the first copy is in order, the late one does not matter.
    run.ledger.offer("c0", input(Class::Push, "c", 0));
    run.deliver("c0", 1, 0, 50, Answer::Cut);
    run.deliver("c0", 0, 60, 100, Answer::Safe);
    run.ledger.offer("c1", input(Class::Push, "c", 1));
    run.deliver("c1", 0, 110, 200, Answer::Safe);
    run.copies.extend([copy("c0", "c0", 70, 5, 1), copy("c1", "c1", 120, 5, 2), copy("c0", "c0", 20, 5, 3)]);
    let verdict = run.judge();
    found(&verdict, [0; 6]);
    assert_eq!(verdict.neighbours, 13);
    // But when replica 0's own copy comes after it, that is a fault.
    run.copies.iter_mut().filter(|copy| copy.id == "c0" && copy.received_at == 70).for_each(|copy| copy.offset = 9);
    found(&run.judge(), [0, 0, 1, 0, 0, 0]);
}

#[test]
fn live_inputs_are_in_order_among_what_the_same_connections_heard() {
    let mut run = Run::new();
    (0..4).for_each(|n| run.ledger.hear(&format!("call{n}"), 0));
    // The first comes last.
    run.find("call0").offset = 9;
    found(&run.judge(), [0, 0, 1, 0, 0, 0]);
    // From the second on another connection was told too: its owner need not have heard the first.
    (1..4).for_each(|n| run.ledger.hear(&format!("call{n}"), 1));
    let verdict = run.judge();
    found(&verdict, [0; 6]);
    assert_eq!(verdict.neighbours, 11);
    // What both heard is in order all the same.
    run.find("call1").offset = 8;
    found(&run.judge(), [0, 0, 1, 0, 0, 0]);
}
