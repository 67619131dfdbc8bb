//! `export`.

use std::io::{self, Write};

use dhow_client::BodyReader;

use crate::error::{Error, Result, message, plain};
use crate::flags::{Args, Flag, Kind};
use crate::output_file::OutputFile;
use crate::session::Session;
use crate::{signals, terminal};

pub const EXPORT: &[Flag] = &[Flag::new(
    "output",
    Kind::String,
    "Write to a file, instead of standard output",
)
.short('o')];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let name = args.rest[0].as_str();
    let Some(path) = args.nonempty("output") else {
        if terminal::stdout_is_terminal() {
            return Err(plain(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        let client = session.client().await?;
        let archive = client.container_export(name).await?;
        return copy(archive, io::stdout().lock()).await;
    };
    let failed = |error: io::Error| message(format!("failed to export container: {error}"));
    let mut file = OutputFile::create(path).map_err(failed)?;
    let client = session.client().await?;
    let copied = async {
        let archive = client.container_export(name).await?;
        copy(archive, &mut file).await
    };
    tokio::select! {
        copied = copied => copied?,
        number = signals::deadly() => {
            let number = u8::try_from(number?).unwrap_or(0);
            return Err(Error::Exit(128 + number));
        }
    }
    file.keep().map_err(failed)
}

/// An archive that was cut off is an error.
async fn copy(mut archive: BodyReader, mut to: impl Write) -> Result<()> {
    while let Some(chunk) = archive.piece().await? {
        to.write_all(&chunk)?;
    }
    Ok(to.flush()?)
}
