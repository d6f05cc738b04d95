//! What the controller owes the machines beside the doors.

use std::{cell::RefCell, rc::Rc};

use super::*;

/// Keeps a value at each read, and writes down what it is told.
#[derive(Debug)]
struct Recorder(Rc<RefCell<Vec<String>>>);

impl Machine for Recorder {
    fn handle(&mut self, _now: Now, _view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        match happening {
            Happening::Read(read) => {
                let person = id(&format!("p-{}", read.card.value));
                deeds.push(Deed::KeepFirst(Kept::Whereabouts { person, areas: Vec::new() }));
            }
            Happening::Durable(key) => self.0.borrow_mut().push(key.as_str().to_owned()),
            _ => {}
        }
    }
}

fn fences(step: Step) -> Vec<Fence> {
    let held = step.commit.held.release(&crate::gateway::step::Durable::synced());
    held.into_iter().filter_map(|effect| if let Effect::Fence(fence) = effect { Some(fence) } else { None }).collect()
}

#[test]
fn what_is_kept_first_is_told_durable_only_by_its_own_mark_or_a_later_one() {
    let told = Rc::default();
    let machines: Vec<Box<dyn Machine>> = vec![Box::new(Recorder(Rc::clone(&told)))];
    let mut bench = Bench::with(machines, ReaderAt::Cab(0));
    let read = |bench: &mut Bench, value| bench.present(RawCard::new(32, value));
    let marks: Vec<Fence> = (1..=3).flat_map(|value| fences(read(&mut bench, value))).collect();
    assert!(marks.is_sorted_by(|a, b| a < b), "{marks:?}");
    let _ = bench.tell(Input::Durable(Fence(marks[0].0 - 1)));
    assert_eq!(*told.borrow(), Vec::<String>::new());
    let _ = bench.tell(Input::Durable(marks[0]));
    assert_eq!(*told.borrow(), ["whereabouts/p-1"]);
    let _ = bench.tell(Input::Durable(marks[2]));
    assert_eq!(*told.borrow(), ["whereabouts/p-1", "whereabouts/p-2", "whereabouts/p-3"]);
    let _ = bench.tell(Input::Durable(marks[2]));
    assert_eq!(told.borrow().len(), 3);
}
