//! A certificate authority for tests: Pebble and its DNS server as child processes, their files in a temporary directory.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::client;
use crate::house::{free_ports, get, soon};

/// Ends with its processes when dropped.
pub struct Pebble {
    /// Where it looks for HTTP-01 proofs.
    pub http_port: u16,
    port: u16,
    management: u16,
    dns: u16,
    files: TempDir,
    processes: [Child; 2],
}

impl Pebble {
    /// `None`, said loudly, when it is not installed.
    pub async fn start() -> Option<Self> {
        Self::start_for(None).await
    }

    /// As [`Pebble::start`]; it takes none but the customer with this key id and this key in URL-safe base64.
    pub async fn start_for(customer: Option<[&str; 2]>) -> Option<Self> {
        for program in ["pebble", "pebble-challtestsrv"] {
            if let Err(error) = Command::new(program).arg("-h").output().await {
                // Not by a macro: what those print in a test that passes is thrown away.
                writeln!(
                    std::io::stderr(),
                    "\nSKIPPED: {program} cannot be run ({error}); A TEST OF ACME DID NOTHING"
                )
                .expect("standard error");
                return None;
            }
        }
        let [http_port, port, management, dns] = free_ports().await;
        let files = tempfile::tempdir().expect("a directory");
        write_files(&files, [http_port, port, management], customer);
        Some(Self::run(files, [http_port, port, management, dns]).await)
    }

    /// Another process with the same files and ports, and no memory.
    pub async fn restart(mut self) -> Self {
        for process in &mut self.processes {
            process.kill().await.expect("ended");
        }
        let ports = [self.http_port, self.port, self.management, self.dns];
        Self::run(self.files, ports).await
    }

    async fn run(files: TempDir, [http_port, port, management, dns]: [u16; 4]) -> Self {
        let answers_dns = Command::new("pebble-challtestsrv")
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", &format!("127.0.0.1:{dns}")])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it was there a moment ago");
        let authority = Command::new("pebble")
            .args(["-strict", "-dnsserver", &format!("127.0.0.1:{dns}"), "-config"])
            .arg(files.path().join("config.json"))
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it was there a moment ago");
        soon(async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        Self { http_port, port, management, dns, files, processes: [answers_dns, authority] }
    }

    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The root above the directory's own certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.files.path().join("ca.pem")
    }

    /// The root above what it issues; another one in each process.
    pub async fn root(&self) -> Vec<u8> {
        let ca = std::fs::read(self.ca_file()).expect("written before");
        let at = (Ipv4Addr::LOCALHOST, self.management).into();
        let stream = client::tls_on(at, Some("localhost"), &ca, &[]).await.expect("a handshake");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP begins");
        tokio::spawn(connection);
        let mut request = get("/roots/0");
        request.headers_mut().insert("host", "localhost".parse().expect("a value"));
        let answer = sender.send_request(request).await.expect("an answer");
        answer.into_body().collect().await.expect("a whole body").to_bytes().to_vec()
    }
}

fn write_files(files: &TempDir, [http_port, port, management]: [u16; 3], customer: Option<[&str; 2]>) {
    let customers: BTreeMap<&str, &str> = customer.into_iter().map(Into::into).collect();
    let mut ca = CertificateParams::new([]).expect("no names");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("a root");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &ca).expect("a certificate");
    let config = serde_json::json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{port}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": files.path().join("leaf.pem"),
        "privateKey": files.path().join("leaf.key"),
        "httpPort": http_port,
        "tlsPort": 1,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": customer.is_some(),
        "externalAccountMACKeys": customers,
    }});
    for (name, text) in [
        ("ca.pem", ca.pem()),
        ("leaf.pem", leaf.pem()),
        ("leaf.key", key.serialize_pem()),
        ("config.json", config.to_string()),
    ] {
        std::fs::write(files.path().join(name), text).expect("written");
    }
}
