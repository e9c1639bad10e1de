//! Calls of which nothing is computed: whose turn it is, what is joined, what has room, and what is released.

use std::time::Duration;

use super::*;
use crate::engine::call::{OutputRows, Request};
use crate::engine::call_state::CallState;
use crate::engine::task::Pass;

/// Tokens of a pass.
const PASS: usize = 1000;

fn queue(sharing: Sharing) -> Queue {
    Queue::new(sharing, false, 2)
}

/// A call with passes of so many texts and so many tokens in each text.
fn call(passes: &[(usize, usize)], request: Request) -> QueuedCall {
    let tasks = passes.iter().map(|&(texts, length)| Task::Compute(Pass::sample(texts, length))).collect();
    queued(passes.iter().map(|pass| pass.0).sum(), tasks, request)
}

/// A call of one text that is not tokenized.
fn newcomer() -> QueuedCall {
    queued(1, [Task::Tokenize { piece: 0, uniques: 0..1 }].into(), Request::default())
}

fn queued(texts: usize, tasks: VecDeque<Task>, request: Request) -> QueuedCall {
    let texts: Vec<_> = (0..texts).map(|text| text.to_string()).collect();
    let rows = OutputRows::Owned(vec![0.0; texts.len()]);
    let call = Call::new(Box::new(texts), request, 0, rows, false, false).unwrap();
    QueuedCall::new(
        Arc::new(call),
        CallState::default(),
        TaskSet { single: tasks, ..TaskSet::default() },
        Box::new(drop),
    )
}

fn small() -> QueuedCall {
    call(&[(1, 10)], Request::default())
}

fn take(queue: &mut Queue) -> Option<Assignment> {
    match queue.take(WorkerKind::Cpu, PASS, Instant::now()) {
        Next::Assignment(assignment) => Some(assignment),
        Next::Nothing | Next::After(_) => None,
    }
}

/// Whose tasks they are.
fn callers(assignment: &Assignment) -> Vec<u64> {
    assignment.tasks.iter().map(|unit| unit.0).collect()
}

/// Says that the assignment is done; gives the calls of which nothing is left.
fn complete(queue: &mut Queue, assignment: Assignment) -> Vec<QueuedCall> {
    let done = assignment.tasks.into_iter().map(|(number, _, _)| (number, Ok(None))).collect();
    queue.complete(WorkerKind::Cpu, assignment.slots, done)
}

/// Whose turn it is, until nothing is left.
fn turns(queue: &mut Queue) -> Vec<Vec<u64>> {
    let mut turns = Vec::new();
    while let Some(assignment) = take(queue) {
        turns.push(callers(&assignment));
        complete(queue, assignment).iter().for_each(|ended| queue.release(ended));
    }
    turns
}

#[test]
fn a_small_call_overtakes_a_huge_one() {
    let mut queue = queue(Sharing::default());
    let huge = queue.admit(call(&[(1, 900); 50], Request::default())).unwrap();
    for _ in 0..10 {
        let assignment = take(&mut queue).unwrap();
        assert!(complete(&mut queue, assignment).is_empty());
    }
    let small = queue.admit(small()).unwrap();
    let turns = turns(&mut queue);
    assert_eq!(turns.iter().flatten().filter(|&&number| number == huge).count(), 40);
    assert!(turns[..2].iter().flatten().any(|&number| number == small), "{turns:?}");
}

#[test]
fn newcomers_do_not_starve_a_huge_call() {
    let mut queue = queue(Sharing::default());
    let huge = queue.admit(call(&[(1, 900); 20], Request::default())).unwrap();
    let mut served = 0;
    for _ in 0..60 {
        queue.admit(call(&[(1, 900)], Request::default())).unwrap();
        let assignment = take(&mut queue).unwrap();
        served += callers(&assignment).iter().filter(|&&number| number == huge).count();
        complete(&mut queue, assignment).iter().for_each(|ended| queue.release(ended));
    }
    assert!(served >= 3, "{served} of 60");
}

#[test]
fn priority_is_a_share_of_the_tokens() {
    let mut queue = queue(Sharing::default());
    let urgent = Request { priority: 4.0, ..Request::default() };
    queue.admit(call(&[(1, 900); 40], Request::default())).unwrap();
    let urgent = queue.admit(call(&[(1, 900); 40], urgent)).unwrap();
    let turns = turns(&mut queue);
    let served = turns[..40].iter().flatten().filter(|&&number| number == urgent).count();
    assert!((31..=33).contains(&served), "{served} of 40");
}

#[test]
fn what_fits_goes_together() {
    let together = |sharing: Sharing, tokens: usize| {
        let mut queue = queue(sharing);
        for _ in 0..8 {
            queue.admit(small()).unwrap();
        }
        let Next::Assignment(assignment) = queue.take(WorkerKind::Cpu, tokens, Instant::now()) else {
            panic!("there is assignment")
        };
        assignment.tasks.len()
    };
    assert_eq!(together(Sharing::default(), PASS), 8);
    assert_eq!(together(Sharing::default(), 35), 3);
    assert_eq!(together(Sharing::default(), 5), 1);
    assert_eq!(together(Sharing { max_batch_size: Some(2), ..Sharing::default() }, PASS), 2);
}

#[test]
fn a_callers_batch_size_holds_wherever_its_texts_are() {
    let mut queue = queue(Sharing::default());
    let of_two = Request { batch_size: Some(2), ..Request::default() };
    queue.admit(small()).unwrap();
    queue.admit(call(&[(1, 10)], of_two)).unwrap();
    queue.admit(small()).unwrap();
    assert_eq!(turns(&mut queue), [vec![0, 1], vec![2]]);
}

#[test]
fn what_is_finished_differently_stays_apart() {
    let mut queue = queue(Sharing::default());
    queue.admit(small()).unwrap();
    queue.admit(call(&[(1, 10)], Request { normalize: true, ..Request::default() })).unwrap();
    queue.admit(call(&[(1, 10)], Request { profile: Some(Arc::default()), ..Request::default() })).unwrap();
    queue.admit(small()).unwrap();
    assert_eq!(turns(&mut queue), [vec![0, 3], vec![1], vec![2]]);
}

#[test]
fn newcomers_are_all_tokenized_before_one_is_computed() {
    let mut queue = queue(Sharing::default());
    for _ in 0..3 {
        queue.admit(newcomer()).unwrap();
    }
    for number in 0..3 {
        let assignment = take(&mut queue).unwrap();
        assert_eq!(callers(&assignment), [number]);
        for ended in complete(&mut queue, assignment) {
            let tasks = [Task::Compute(Pass::sample(1, 10))].into();
            assert!(queue.requeue(ended, TaskSet { single: tasks, ..TaskSet::default() }).is_none());
        }
    }
    assert_eq!(turns(&mut queue), [[0, 1, 2]]);
}

#[test]
fn company_is_waited_for_until_there_is_enough() {
    let hour = Duration::from_secs(3600);
    let mut queue = queue(Sharing { max_wait: hour, ..Sharing::default() });
    assert!(queue.reserve(1, 1).is_none());
    queue.admit(small()).unwrap();
    let now = Instant::now();
    assert!(matches!(queue.take(WorkerKind::Cpu, PASS, now), Next::After(time) if time <= hour));
    assert!(matches!(queue.take(WorkerKind::Cpu, PASS, now + hour), Next::Assignment(_)));
    queue.admit(call(&[(10, 100)], Request::default())).unwrap();
    assert!(take(&mut queue).is_some());
}

#[test]
fn no_more_passes_at_a_time_than_are_allowed() {
    let mut queue = queue(Sharing { max_concurrency: Some(1), ..Sharing::default() });
    queue.admit(call(&[(1, 900); 2], Request::default())).unwrap();
    let assignment = take(&mut queue).unwrap();
    assert!(take(&mut queue).is_none());
    complete(&mut queue, assignment);
    assert!(take(&mut queue).is_some());
}

#[test]
fn who_computes_alone_holds_the_machine() {
    let mut queue = queue(Sharing::default());
    let all = Some(Reservation { slots: 2, on_team: true });
    assert_eq!(queue.reserve(3, 2), all);
    assert_eq!(queue.reserve(1, 2), None);
    queue.admit(small()).unwrap();
    assert!(take(&mut queue).is_none());
    queue.busy_slots = 0;
    assert_eq!(queue.reserve(1, 2), None);
    assert!(take(&mut queue).is_some());
}

#[test]
fn callers_that_meet_compute_on_a_thread_each() {
    let mut queue = queue(Sharing::default());
    let (all, own) = (Some(Reservation { slots: 2, on_team: true }), Some(Reservation { slots: 1, on_team: false }));
    assert_eq!(queue.reserve(1, 2), all);
    // This one has to wait, and those after it do not.
    assert_eq!(queue.reserve(1, 2), None);
    queue.busy_slots = 0;
    assert_eq!([queue.reserve(1, 2), queue.reserve(1, 2), queue.reserve(1, 2)], [own, own, None]);
    queue.busy_slots = 0;
    // Workers share out what is more than one unit.
    assert_eq!(queue.reserve(2, 2), None);
    // Until callers come one at a time for a while.
    let mut held = || {
        queue.busy_slots = 0;
        queue.reserve(1, 2)
    };
    assert_eq!([held(), held(), held()], [own, own, all]);
}

#[test]
fn a_full_queue_refuses() {
    let mut queue = queue(Sharing { max_queue: Some(3), refuse_when_full: true, ..Sharing::default() });
    // More than there is room for, but alone.
    queue.admit(call(&[(5, 10)], Request::default())).unwrap();
    let Err(Error::QueueFull { message }) = queue.admit(small()) else { panic!("there is no room") };
    assert_eq!(message, "max_queue: 3 inputs may wait; 5 do, and 1 came");
    turns(&mut queue);
    for _ in 0..3 {
        queue.admit(small()).unwrap();
    }
    assert!(matches!(queue.admit(small()), Err(Error::QueueFull { .. })));
}

#[test]
fn a_full_queue_has_others_wait_outside() {
    let mut queue = queue(Sharing { max_queue: Some(2), ..Sharing::default() });
    for _ in 0..5 {
        queue.admit(small()).unwrap();
    }
    assert_eq!(turns(&mut queue), [vec![0, 1], vec![2, 3], vec![4]]);
}

#[test]
fn the_cost_that_waits_is_that_of_the_passes_that_are_left() {
    // It is kept up to date and not summed anew: a call of thousands of passes costs each take no more than others.
    const PASSES: usize = 4096;
    let mut queue = queue(Sharing::default());
    queue.admit(call(&vec![(1, 10); PASSES], Request::default())).unwrap();
    for left in (0..PASSES).rev() {
        let assignment = take(&mut queue).unwrap();
        assert_eq!(assignment.tasks.len(), 1);
        assert_eq!((queue.cost, queue.waiting[COMPUTE]), (left * 10, left));
        complete(&mut queue, assignment).iter().for_each(|ended| queue.release(ended));
    }
    assert!(queue.calls.is_empty());
}

#[test]
fn the_depth_is_that_of_calls_that_are_not_done() {
    let mut queue = queue(Sharing { max_queue: Some(4), ..Sharing::default() });
    assert_eq!(queue.depth(), QueueDepth { slots: 2, ..QueueDepth::default() });
    queue.admit(call(&[(3, 900)], Request::default())).unwrap();
    queue.admit(newcomer()).unwrap();
    // Outside.
    queue.admit(call(&[(2, 10)], Request::default())).unwrap();
    let all = QueueDepth { calls: 3, inputs: 6, cost: 2700, busy: 0, slots: 2 };
    assert_eq!(queue.depth(), all);
    let (first, second) = (take(&mut queue).unwrap(), take(&mut queue).unwrap());
    assert_eq!(queue.depth(), QueueDepth { cost: 0, busy: 2, ..all });
    // Between tasks it is still there, and in its place comes one from outside.
    let mut ended = complete(&mut queue, first);
    ended.extend(complete(&mut queue, second));
    assert_eq!(queue.depth(), QueueDepth { cost: 0, ..all });
    ended.iter().for_each(|ended| queue.release(ended));
    assert_eq!(queue.depth(), QueueDepth { calls: 1, inputs: 2, cost: 20, busy: 0, slots: 2 });
    turns(&mut queue);
    assert_eq!(queue.depth(), QueueDepth { slots: 2, ..QueueDepth::default() });
    let sum: QueueDepth = [all, QueueDepth { busy: 1, ..all }].into_iter().sum();
    assert_eq!(sum, QueueDepth { calls: 6, inputs: 12, cost: 5400, busy: 1, slots: 4 });
}

#[test]
fn cancelled_calls_leave_in_every_state() {
    let mut queue = queue(Sharing { max_queue: Some(2), ..Sharing::default() });
    let [waiting, computing, outside, stays] = [(); 4].map(|()| queue.admit(small()).unwrap());
    // Outside.
    assert!(queue.cancel(outside).is_some());
    // With nothing taken yet.
    assert!(queue.cancel(waiting).is_some());
    // With a unit at assignment: it ends with that.
    let assignment = take(&mut queue).unwrap();
    assert!(callers(&assignment).contains(&computing));
    assert!(queue.cancel(computing).is_none());
    let ended = complete(&mut queue, assignment);
    let failed = ended.iter().find(|ended| ended.number == computing).unwrap();
    assert!(matches!(failed.failure, Some(Error::Interrupted)));
    ended.iter().for_each(|ended| queue.release(ended));
    // Over, and never there.
    assert!(queue.cancel(computing).is_none());
    assert!(queue.cancel(u64::MAX).is_none());
    let ended = turns(&mut queue);
    assert!(ended.is_empty() || ended == [[stays]]);
    assert_eq!((queue.inputs, queue.cost, queue.busy_slots, queue.calls.len()), (0, 0, 0, 0));
    assert_eq!(queue.depth(), QueueDepth { slots: 2, ..QueueDepth::default() });
}

#[test]
fn a_call_that_is_cancelled_between_stages_is_given_back() {
    let mut queue = queue(Sharing::default());
    let number = queue.admit(newcomer()).unwrap();
    let assignment = take(&mut queue).unwrap();
    let ended = complete(&mut queue, assignment).pop().unwrap();
    ended.call.cancel();
    assert!(queue.cancel(number).is_none());
    let tasks = [Task::Compute(Pass::sample(1, 10))].into();
    let ended = queue.requeue(ended, TaskSet { single: tasks, ..TaskSet::default() }).unwrap();
    queue.release(&ended);
    assert!(take(&mut queue).is_none());
}
