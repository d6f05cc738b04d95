//! The real mosquitto in place of the embedded broker, where it is installed.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::pki::{Authority, Identity};

pub struct Mosquitto {
    child: Option<Child>,
    config: PathBuf,
    address: SocketAddr,
}

/// Where Debian puts it, and wherever `PATH` says.
pub fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join("mosquitto")).find(|program| program.is_file())
}

impl Mosquitto {
    /// TLS with client certificates, as the daemon's default wants it.
    pub fn start(directory: &Path, authority: &Authority, server: &Identity) -> anyhow::Result<Mosquitto> {
        let directory = directory.join("mosquitto");
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("ca.pem"), authority.pem())?;
        server.write(&directory.join("server.pem"), &directory.join("server.key"))?;
        // Free now; nobody else here takes ports in this range at random.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = directory.join("mosquitto.conf");
        let text = format!(
            "user root\nlistener {} 127.0.0.1\ncafile {d}/ca.pem\ncertfile {d}/server.pem\nkeyfile {d}/server.key\n\
             require_certificate true\nuse_identity_as_username true\nallow_anonymous false\nset_tcp_nodelay true\n\
             max_queued_messages 0\nmax_inflight_messages 0\n",
            address.port(),
            d = directory.display(),
        );
        std::fs::write(&config, text)?;
        let mut mosquitto = Mosquitto { child: None, config, address };
        mosquitto.start_again()?;
        Ok(mosquitto)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let program = installed().context("mosquitto is not installed (apt install mosquitto)")?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&self.config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("mosquitto")?;
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(self.address).is_err() {
            if Instant::now() > deadline {
                bail!("mosquitto does not listen; its configuration is {}", self.config.display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
    }
}
