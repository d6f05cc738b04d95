//! The socket of the installer on the spot: lines of JSON, a question and its answer. Owns the file, who may
//! connect and for how long; must never know what is asked. Invariant: nobody but the daemon's own user and root
//! gets in (the file's mode), and the kernel says who it is.

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

use crate::domain::installer::{Answer, Ask};

/// In the state directory, which only one daemon at a time holds.
pub const SOCKET: &str = "control";
/// Conversations at a time; the next one waits.
const CONVERSATIONS_MAX: usize = 4;
const QUESTION_MAX: u64 = 4_096;
const ANSWER_MAX: u64 = 1024 * 1024;
/// Whoever says nothing for this long is gone.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// For an answer, whatever is asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Makes the socket. What an earlier daemon left is removed: whoever calls this holds the state directory.
pub fn listen(state_dir: &Path) -> io::Result<UnixListener> {
    let path = state_dir.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    // The directory is the daemon's alone already.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers whoever connects, for ever. `answer` is told the user's number.
pub async fn serve<F>(listener: UnixListener, answer: impl Fn(u32, Ask) -> F + Clone + 'static)
where
    F: Future<Output = Answer> + 'static,
{
    let room = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
    loop {
        let Ok(room) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // No file left, say: not at once again.
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let answer = answer.clone();
        tokio::task::spawn_local(async move {
            // Whoever hangs up has no use for an error.
            let _ = converse(stream, answer).await;
            drop(room);
        });
    }
}

async fn converse<F: Future<Output = Answer>>(stream: UnixStream, answer: impl Fn(u32, Ask) -> F) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut read).take(QUESTION_MAX);
        let question = bounded.read_until(b'\n', &mut line);
        let length = tokio::time::timeout(IDLE_MAX, question).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if length == 0 || line.last() != Some(&b'\n') {
            return Ok(());
        }
        let answered = match serde_json::from_slice(&line) {
            Ok(ask) => answer(uid, ask).await,
            Err(error) => Answer::Refused { message: format!("not understood: {error}") },
        };
        let mut line = serde_json::to_vec(&answered)?;
        line.push(b'\n');
        tokio::time::timeout(IDLE_MAX, write.write_all(&line)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
}

/// The other end: `latchd io`.
pub struct Conversation {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Conversation {
    pub async fn begin(state_dir: &Path) -> Result<Conversation, String> {
        let path = state_dir.join(SOCKET);
        let stream = UnixStream::connect(&path).await.map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => "; run it as root or as the daemon's user",
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "; does latchd run with this site file?",
                _ => "",
            };
            format!("{}: {error}{hint}", path.display())
        })?;
        Ok(Conversation { stream: BufReader::new(stream), path })
    }

    pub async fn ask(&mut self, ask: &Ask) -> Result<Answer, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.path.display());
        let mut line = serde_json::to_vec(ask).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let talk = async {
            self.stream.get_mut().write_all(&line).await?;
            let mut answer = Vec::new();
            (&mut self.stream).take(ANSWER_MAX).read_until(b'\n', &mut answer).await?;
            if answer.is_empty() {
                return Err(io::Error::other("the daemon hung up"));
            }
            Ok(serde_json::from_slice(&answer)?)
        };
        match tokio::time::timeout(ANSWER_WITHIN, talk).await {
            Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
            Ok(result) => result.map_err(failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn talk(told: impl AsyncFnOnce(&Path)) {
        let directory = tempfile::tempdir().unwrap();
        let listener = listen(directory.path()).unwrap();
        let local = tokio::task::LocalSet::new();
        local.spawn_local(serve(listener, |uid, ask| async move {
            Answer::Done { message: format!("{} asks {ask:?}", uid == rustix::process::getuid().as_raw()) }
        }));
        local.run_until(told(directory.path())).await;
    }

    #[tokio::test]
    async fn a_question_is_answered_with_the_word_of_the_kernel_on_who_asks() {
        talk(async |directory| {
            let mut conversation = Conversation::begin(directory).await.unwrap();
            for _ in 0..2 {
                let answer = conversation.ask(&Ask::Points {}).await.unwrap();
                assert_eq!(answer, Answer::Done { message: "true asks Points".to_owned() });
            }
            let mode = std::fs::metadata(directory.join(SOCKET)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        })
        .await;
    }

    #[tokio::test]
    async fn nonsense_is_refused_and_endless_lines_are_hung_up_on() {
        talk(async |directory| {
            let mut stream = BufReader::new(UnixStream::connect(directory.join(SOCKET)).await.unwrap());
            stream.get_mut().write_all(b"{\"ask\": \"the way\"}\n").await.unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            assert!(line.contains("refused") && line.contains("not understood"), "{line}");
            stream.get_mut().write_all(&[b' '; 8_192]).await.unwrap();
            line.clear();
            assert!(matches!(stream.read_line(&mut line).await, Ok(0) | Err(_)), "{line}");
        })
        .await;
    }

    #[tokio::test]
    async fn where_no_daemon_runs_that_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let error = Conversation::begin(directory.path()).await.err().unwrap();
        assert!(error.contains("does latchd run"), "{error}");
    }
}
