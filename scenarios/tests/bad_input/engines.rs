//! Engines that fail at a moment of the test's choice: one that only speaks, and a way to the real one that is cut.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{self, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpStream, UnixListener, UnixStream},
    sync::{mpsc, watch},
    time::sleep,
};

/// What a speaking engine says to a request.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// This.
    Whole(&'static str),
    /// This, and then the connection breaks in the middle.
    Broken(&'static str),
    /// That there is no such thing.
    Missing,
    /// Nothing, ever.
    Silence,
}

/// The first lines of what was asked, in their order.
pub type Requests = mpsc::UnboundedReceiver<String>;

/// An engine below `folder` that holds nothing and answers every request by its first line. Returns its address for `DOCKER_HOST`.
pub fn speaking(folder: &Path, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> (String, Requests) {
    let (listener, address) = listen(folder);
    let (asked, requests) = mpsc::unbounded_channel();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (asked, answer) = (asked.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                // A client that has gone needs no answer, and a test that has gone no request.
                if let Ok(request) = read_request(&mut client).await {
                    let answer = answer(&request);
                    let _ = asked.send(request);
                    let _ = say(&mut client, answer).await;
                }
            });
        }
    });
    (address, requests)
}

/// The first line of a request, which is read to its end: an engine, too, has a build's context before it answers.
async fn read_request(client: &mut BufReader<UnixStream>) -> io::Result<String> {
    let (mut first, mut length) = (String::new(), 0);
    client.read_line(&mut first).await?;
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    io::copy(&mut client.take(length), &mut io::sink()).await?;
    Ok(first)
}

async fn say(client: &mut BufReader<UnixStream>, answer: Answer) -> io::Result<()> {
    let (status, body, length) = match answer {
        Answer::Whole(body) => ("200 OK", body, body.len()),
        Answer::Broken(body) => ("200 OK", body, body.len() + 1),
        Answer::Missing => ("404 Not Found", "{}", 2),
        Answer::Silence => return io::copy(client, &mut io::sink()).await.map(drop),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    client.write_all(head.as_bytes()).await?;
    client.write_all(body.as_bytes()).await?;
    client.shutdown().await
}

/// A way below `folder` to the real engine, until a request has `word` in its first line: that one does not arrive, all connections break,
/// and new ones do too until `away` is over. Returns the address for `DOCKER_HOST`.
pub fn cut_at(word: &'static str, folder: &Path, away: Duration) -> (String, Requests) {
    let (listener, address) = listen(folder);
    let (asked, requests) = mpsc::unbounded_channel();
    let (cut, is_cut) = watch::channel(false);
    let cut = Arc::new(cut);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (asked, cut, mut is_cut) = (asked.clone(), Arc::clone(&cut), is_cut.clone());
            tokio::spawn(async move {
                let broken = async {
                    let _ = is_cut.wait_for(|is_cut| *is_cut).await;
                };
                let heard = tokio::select! {
                    () = broken => None,
                    heard = lead(client, word) => heard,
                };
                if let Some(request) = heard {
                    cut.send_replace(true);
                    let _ = asked.send(request);
                    sleep(away).await;
                    cut.send_replace(false);
                }
            });
        }
    });
    (address, requests)
}

async fn lead(client: UnixStream, word: &str) -> Option<String> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into());
    if let Some(path) = host.strip_prefix("unix://") {
        pass(client, UnixStream::connect(path).await.ok()?, word).await
    } else {
        let address = host.rsplit('/').next().unwrap_or_default();
        pass(client, TcpStream::connect(address).await.ok()?, word).await
    }
}

/// Passes bytes in both directions until the engine ends the connection, or a request has the word: that one is returned.
async fn pass(client: UnixStream, engine: impl AsyncRead + AsyncWrite, word: &str) -> Option<String> {
    let (mut from_client, mut to_client) = io::split(client);
    let (mut from_engine, mut to_engine) = io::split(engine);
    let requests = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from_client.read(&mut buffer).await.unwrap_or_default();
            if length == 0 {
                // There may yet be an answer.
                let _ = to_engine.shutdown().await;
                return std::future::pending().await;
            }
            let text = String::from_utf8_lossy(&buffer[..length]);
            let first = text.lines().next().unwrap_or_default();
            if first.starts_with("POST ") && first.contains(word) {
                return Some(first.to_owned());
            }
            to_engine.write_all(&buffer[..length]).await.ok()?;
        }
    };
    let answers = async {
        // However it ends, the client sees the end of its connection.
        let _ = io::copy(&mut from_engine, &mut to_client).await;
    };
    tokio::select! {
        heard = requests => heard,
        () = answers => None,
    }
}

fn listen(folder: &Path) -> (UnixListener, String) {
    let socket = folder.join("engine.sock");
    let listener = UnixListener::bind(&socket).expect("a socket can be made in a folder of the test's own");
    (listener, format!("unix://{}", socket.display()))
}
