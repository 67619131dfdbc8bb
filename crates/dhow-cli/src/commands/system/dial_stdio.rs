//! `system dial-stdio`, which is run at the other end of `ssh://` hosts: it joins its own streams to the
//! daemon's socket.
//!
//! It ends well whenever it was connected: what runs it may try another client if it was not.

use std::pin::pin;

use bytes::BytesMut;
use dhow_client::{HijackReader, HijackWriter, StreamKind};
use tokio::io::AsyncReadExt;

use crate::error::{Result, message};
use crate::flags::Args;
use crate::session::Session;
use crate::stdio;

const BUFFER: usize = 32 * 1024;

pub async fn run(session: &Session, _args: &Args) -> Result<()> {
    // The warm connection stays unused: a daemon that must be started is started by it.
    let client = session.client().await?;
    let connection = client
        .dial()
        .await
        .map_err(|error| message(format!("failed to open the raw stream connection: {error}")))?;
    let mut output = pin!(to_output(connection.reader));
    // Side by side: the daemon may take no more before it was read.
    tokio::select! {
        // Whoever reads us need not end its input.
        () = &mut output => return Ok(()),
        () = from_input(connection.writer) => {}
    }
    output.await;
    Ok(())
}

async fn from_input(mut writer: HijackWriter) {
    let mut input = stdio::input();
    while let Some(bytes) = input.recv().await {
        if writer.write(&bytes).await.is_err() {
            return;
        }
    }
    // A daemon that has closed its end already has no more to be told.
    let _ = writer.close().await;
}

async fn to_output(mut reader: HijackReader) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(BUFFER);
        match reader.read_buf(&mut buffer).await {
            Ok(1..) => {}
            _ => return,
        }
        let bytes = buffer.split().freeze();
        if stdio::output(StreamKind::Stdout, bytes).await.is_err() {
            return;
        }
    }
}
