//! An attacker's HTTP/2 connection.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use souk_testkit::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, MAX_FRAME_BYTES, RST_STREAM, Repeated, SETTINGS,
    WINDOW_UPDATE, frame, message, send_preface, setting,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::TcpStream,
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_rustls::client::TlsStream;

use super::pace::Pace;

/// The setting SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;
/// The largest window, and what a connection's has to grow by to be as large.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
const DEFAULT_WINDOW: u32 = 65_535;
/// Frames and bytes that are written together in a flood, at most.
const BATCH: u32 = 64;
const BATCH_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 64 * 1024;

type Stream = TlsStream<TcpStream>;

/// How much of the answers an attacker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// All of them, with the largest windows.
    Everything,
    /// The headers only: its windows are 0, so that the body of every answer waits at the market.
    NoBodies,
}

/// A connection. What the peer sends is read and dropped.
pub(super) struct Link {
    writing: WriteHalf<Stream>,
    peer: Arc<Peer>,
    reading: JoinHandle<()>,
    next_stream: u32,
    pace: Pace,
    /// The peer answers nothing, so nothing can be waited for.
    is_blind: bool,
    /// The block of headers that was sent last, which is in the peer's table.
    sent: Option<Vec<u8>>,
}

/// What the peer has sent.
struct Peer {
    /// A permit for each answer that has ended.
    ended: Semaphore,
    windows: Mutex<Windows>,
    changed: Notify,
}

/// How much may be sent, by stream; stream 0 is the connection.
struct Windows {
    initial: i64,
    by_stream: HashMap<u32, i64>,
    is_closed: bool,
}

impl Link {
    pub(super) async fn open(
        mut stream: Stream,
        reading: Reading,
        pace: Pace,
        is_blind: bool,
    ) -> io::Result<Self> {
        let window = if reading == Reading::Everything { LARGEST_WINDOW } else { 0 };
        send_preface(&mut stream, &setting(INITIAL_WINDOW_SIZE, window)).await?;
        let more = (LARGEST_WINDOW - DEFAULT_WINDOW).to_be_bytes();
        stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &more)).await?;
        let (from, writing) = tokio::io::split(stream);
        let by_stream = HashMap::from([(0, i64::from(DEFAULT_WINDOW))]);
        let windows = Windows { initial: i64::from(DEFAULT_WINDOW), by_stream, is_closed: false };
        let peer =
            Arc::new(Peer { ended: Semaphore::new(0), windows: Mutex::new(windows), changed: Notify::new() });
        let reading = tokio::spawn(read(from, Arc::clone(&peer)));
        Ok(Self { writing, peer, reading, next_stream: 1, pace, is_blind, sent: None })
    }

    /// Writes bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writing.write_all(bytes).await?;
        self.writing.flush().await
    }

    /// Sends frames until the peer ends the connection. Each call of `frames` makes one hit, and gets an odd number
    /// that is fit to be that of a new stream.
    pub(super) async fn flood(&mut self, mut frames: impl FnMut(u32) -> Vec<u8>) -> io::Result<()> {
        loop {
            let (mut batch, mut count) = (Vec::new(), 0);
            while count < BATCH && batch.len() < BATCH_BYTES {
                batch.extend(frames(self.next_stream));
                self.next_stream += 2;
                count += 1;
            }
            // Counted before, because a peer that hangs up over the first of them has been hit.
            self.pace.hit(count.into()).await;
            self.send(&batch).await?;
            if self.reading.is_finished() || self.next_stream > LARGEST_WINDOW - 2 * BATCH {
                return Ok(());
            }
        }
    }

    /// Begins a call, and returns its stream.
    pub(super) async fn begin(&mut self, headers: &Repeated) -> io::Result<u32> {
        let stream = self.next_stream;
        self.next_stream += 2;
        let block = self.block(headers);
        self.send(&frame(HEADERS, END_HEADERS, stream, &block)).await?;
        self.pace.hit(1).await;
        Ok(stream)
    }

    /// Makes a call with one message. Does not wait for the answer.
    pub(super) async fn call(&mut self, headers: &Repeated, request: &[u8]) -> io::Result<u32> {
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut bytes = frame(HEADERS, END_HEADERS, stream, &self.block(headers));
        bytes.extend(frame(DATA, END_STREAM, stream, &message(request)));
        self.send(&bytes).await?;
        self.pace.hit(1).await;
        Ok(stream)
    }

    /// Makes calls until the peer ends the connection, at most `at_once` of them under way.
    pub(super) async fn calls(
        &mut self,
        at_once: usize,
        headers: &Repeated,
        mut request: impl FnMut(u32) -> Vec<u8>,
    ) -> io::Result<()> {
        self.peer.ended.add_permits(at_once);
        loop {
            self.answered().await?;
            let request = request(self.next_stream);
            self.call(headers, &request).await?;
        }
    }

    /// Makes calls that are cancelled at once, until the peer ends the connection. These must be its first calls.
    pub(super) async fn cancelled_calls(&mut self, headers: &Repeated, request: &[u8]) -> io::Result<()> {
        let (mut next, body) = (&headers.first, message(request));
        self.flood(|stream| {
            let block = std::mem::replace(&mut next, &headers.again);
            [
                frame(HEADERS, END_HEADERS, stream, block),
                frame(DATA, END_STREAM, stream, &body),
                frame(RST_STREAM, 0, stream, &CANCEL),
            ]
            .concat()
        })
        .await
    }

    /// Waits until one more answer has ended.
    pub(super) async fn answered(&self) -> io::Result<()> {
        if !self.is_blind {
            self.peer.ended.acquire().await.map_err(|_| closed())?.forget();
        }
        Ok(())
    }

    /// Sends a part of a call's body, as fast as the peer allows.
    pub(super) async fn data(&mut self, stream: u32, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(MAX_FRAME_BYTES) {
            if !self.is_blind {
                self.peer.window(stream, part.len()).await?;
            }
            self.send(&frame(DATA, 0, stream, part)).await?;
        }
        Ok(())
    }

    /// Waits until the peer has ended the connection.
    pub(super) async fn closed(&mut self) -> io::Result<()> {
        let _ = (&mut self.reading).await;
        Ok(())
    }

    /// Returns the block to send: as references if the same headers were sent before.
    fn block(&mut self, headers: &Repeated) -> Vec<u8> {
        if self.sent.as_ref() == Some(&headers.first) {
            return headers.again.clone();
        }
        self.sent = Some(headers.first.clone());
        headers.first.clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Peer {
    /// Waits until the peer takes this many bytes on a stream, and counts them as sent.
    async fn window(&self, stream: u32, bytes: usize) -> io::Result<()> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        loop {
            let changed = self.changed.notified();
            {
                let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
                if windows.is_closed {
                    return Err(closed());
                }
                let initial = windows.initial;
                let own = *windows.by_stream.entry(stream).or_insert(initial);
                let all = windows.by_stream.get(&0).copied().unwrap_or_default();
                if own >= bytes && all >= bytes {
                    windows.by_stream.insert(stream, own - bytes);
                    windows.by_stream.insert(0, all - bytes);
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    fn take(&self, Frame { kind, flags, stream, payload }: Frame<'_>) {
        let number = |bytes: &[u8]| bytes.try_into().map(u32::from_be_bytes).unwrap_or_default();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        match kind {
            DATA | HEADERS if flags & END_STREAM != 0 => self.ended.add_permits(1),
            RST_STREAM => self.ended.add_permits(1),
            WINDOW_UPDATE => {
                let initial = windows.initial;
                *windows.by_stream.entry(stream).or_insert(initial) += i64::from(number(payload));
            }
            SETTINGS => {
                let own = INITIAL_WINDOW_SIZE.to_be_bytes();
                for setting in payload.chunks_exact(6).filter(|setting| setting.starts_with(&own)) {
                    windows.initial = i64::from(number(&setting[2..]));
                }
            }
            _ => return,
        }
        drop(windows);
        self.changed.notify_waiters();
    }

    fn close(&self) {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.ended.close();
        self.changed.notify_waiters();
    }
}

fn closed() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

/// Reads frames until the connection ends.
async fn read(mut from: ReadHalf<Stream>, peer: Arc<Peer>) {
    let mut buffer = Vec::new();
    let mut chunk = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        buffer.extend_from_slice(&chunk[..count]);
        let mut rest = &buffer[..];
        while let Some((frame, more)) = Frame::split(rest) {
            peer.take(frame);
            rest = more;
        }
        let taken = buffer.len() - rest.len();
        buffer.drain(..taken);
    }
    peer.close();
}
