//! Between the installer's socket and the doors, or the keeper of keys. Owns the thread of the socket and the only queue from it; must never
//! hold up the doors: they answer when it is their turn. Invariant: without a socket the doors are enforced all the
//! same.

use std::{collections::BTreeMap, path::Path, thread::JoinHandle};

use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
};

use crate::{
    adapters::control,
    domain::installer::{Answer, Ask},
    gateway::controller::Question,
    runtime::osdp_keys::KeyTask,
};

/// Questions under way to the doors; full: the next is refused.
const ASKED_MAX: usize = 8;

/// A question and whoever waits for its answer.
pub struct Asked {
    uid: u32,
    ask: Ask,
    answer: oneshot::Sender<Answer>,
}

/// Numbers questions and finds those who wait.
#[derive(Default)]
pub struct Awaited {
    asked: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
}

impl Awaited {
    pub fn take(&mut self, asked: Asked) -> Question {
        // Whoever went away waits no longer.
        self.waiting.retain(|_, answer| !answer.is_closed());
        self.asked += 1;
        self.waiting.insert(self.asked, asked.answer);
        Question { number: self.asked, uid: asked.uid, ask: asked.ask }
    }

    pub fn answer(&mut self, number: u64, answer: Answer) {
        if let Some(waiting) = self.waiting.remove(&number) {
            let _ = waiting.send(answer);
        }
    }
}

/// The socket's thread.
pub struct Control {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Control {
    /// `None`: there is no socket, which has been said.
    pub fn start(state_dir: &Path, keys: mpsc::Sender<KeyTask>) -> (Option<Control>, mpsc::Receiver<Asked>) {
        let (ask, asked) = mpsc::channel(ASKED_MAX);
        let (stop, stopped) = oneshot::channel();
        let state_dir = state_dir.to_owned();
        let told = state_dir.join(control::SOCKET);
        let run = move || {
            let serve = async {
                let listener = control::listen(&state_dir)?;
                tokio::select! {
                    () = control::serve(listener, move |uid, question| answer(ask.clone(), keys.clone(), uid, question)) => {}
                    _ = stopped => {}
                }
                Ok::<(), std::io::Error>(())
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let served = runtime.and_then(|runtime| LocalSet::new().block_on(&runtime, serve));
            if let Err(error) = served {
                tracing::warn!(path = %told.display(), %error, "no socket for `latchd io`");
            }
        };
        match std::thread::Builder::new().name("control".to_owned()).spawn(run) {
            Ok(thread) => (Some(Control { stop, thread }), asked),
            Err(error) => {
                tracing::warn!(%error, "no socket for `latchd io`");
                (None, asked)
            }
        }
    }

    pub fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

async fn answer(doors: mpsc::Sender<Asked>, keys: mpsc::Sender<KeyTask>, uid: u32, ask: Ask) -> Answer {
    let (answer, answered) = oneshot::channel();
    let taken = match ask {
        Ask::OsdpInstall { reader, minutes } => {
            keys.try_send(KeyTask::Install { reader, minutes, uid, answer }).is_ok()
        }
        Ask::OsdpKey { reader } => keys.try_send(KeyTask::Ask { reader, answer }).is_ok(),
        Ask::OsdpSetLine { reader, address, baud } => {
            keys.try_send(KeyTask::SetLine { reader, address, baud, uid, answer }).is_ok()
        }
        Ask::OsdpLine { reader } => keys.try_send(KeyTask::AskLine { reader, answer }).is_ok(),
        ask => doors.try_send(Asked { uid, ask, answer }).is_ok(),
    };
    if !taken {
        return Answer::Refused { message: "the daemon is busy, or about to stop".to_owned() };
    }
    answered.await.unwrap_or_else(|_| Answer::Refused { message: "the daemon did not answer".to_owned() })
}
