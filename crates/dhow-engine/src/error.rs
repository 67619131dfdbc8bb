//! The engine's errors: what went wrong, in the words that Docker uses where scripts read them. What a client
//! is told by number, the daemon decides.

use std::path::PathBuf;

use dhow_runtime::StartError;
use dhow_store::StoreError;

use crate::id::ContainerId;

pub type Result<T> = std::result::Result<T, EngineError>;

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    // What is not there.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    #[error("get {0}: no such volume")]
    NoSuchVolume(String),
    /// What a mount is to show is not in its volume.
    #[error("{0}")]
    NoSuchPath(String),
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    #[error("error looking up volume plugin {0}: plugin \"{0}\" not found")]
    NoSuchVolumeDriver(String),
    #[error("Could not find the file {path} in container {container}")]
    NoSuchFile { path: String, container: String },
    #[error(
        "image with reference {image} was found but its platform ({has}) does not match the specified platform ({wanted})"
    )]
    OtherPlatform {
        image: String,
        has: String,
        wanted: String,
    },

    // What is in the way.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken { name: String, holder: ContainerId },
    #[error("Error when allocating new name: {0}")]
    NewName(Box<EngineError>),
    #[error("remove {name}: volume is in use - [{}]", joined(users))]
    VolumeInUse {
        name: String,
        users: Vec<ContainerId>,
    },
    #[error(
        "the data-root {} is in use by {holder}: stop it, or give this one its own --data-root",
        path.display()
    )]
    DataRootInUse { path: PathBuf, holder: String },
    /// A record could not be read, and what it stands for is kept for whoever can mend it.
    #[error(
        "the record of {what} could not be read and was set aside: its data is in {}, move it away to use the name again",
        place.display()
    )]
    SetAside { what: String, place: PathBuf },
    /// It is not for clients to do.
    #[error("{0}")]
    NotPermitted(String),
    /// A container's state refuses what was asked for.
    #[error("{0}")]
    Refused(String),
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    #[error("container {0} is restarting, wait until the container is running")]
    Restarting(ContainerId),
    #[error("container {container} is paused, unpause the container before {before}")]
    Paused {
        container: ContainerId,
        before: &'static str,
    },
    /// It runs as far as is known, and its shim can't be asked.
    #[error("the shim of container {0} can't be reached: try again, or kill the container")]
    Unreachable(ContainerId),
    #[error(
        "cannot join {namespace} namespace of a non running container: container {container} is {status}"
    )]
    CannotJoin {
        namespace: &'static str,
        container: ContainerId,
        status: &'static str,
    },
    #[error("failed to join {namespace} namespace: {why}")]
    CannotShare {
        namespace: &'static str,
        why: String,
    },
    #[error(
        "container {container} still has processes of its last run that can't be ended: {source}"
    )]
    Leftovers {
        container: ContainerId,
        source: std::io::Error,
    },
    #[error("exec command {exec} {state}")]
    ExecState { exec: String, state: &'static str },
    #[error("cannot resize the terminal of {what}: {source}")]
    Resize {
        what: String,
        source: std::io::Error,
    },
    /// `cannot kill container: web`, and why.
    #[error("{what}: {why}")]
    Cannot { what: String, why: Box<EngineError> },

    /// Nothing was to be done: what was asked for is so already.
    #[error("not modified")]
    NotModified,
    /// The request is not a valid one.
    #[error("{0}")]
    Invalid(String),
    /// It is valid, and not to be had here.
    #[error("{0}")]
    Unsupported(String),
    /// A container's process could not be started; the client derives its exit code from the words.
    #[error("{message}")]
    Start { exit_code: i32, message: String },

    /// An archive, or the files in a container that it is made of or becomes.
    #[error(transparent)]
    Archive(#[from] dhow_archive::ArchiveError),

    // What the client can't help.
    #[error("tried to kill container, but did not receive an exit event")]
    NoEnd,
    /// An operation of the daemon's own that failed.
    #[error("{what}: {source}")]
    Io {
        what: String,
        source: std::io::Error,
    },
    /// A part of the daemon's own work that should not have failed.
    #[error("{0}")]
    Internal(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Image(#[from] dhow_image::ImageError),
    #[error(transparent)]
    Distribution(#[from] dhow_distribution::DistributionError),
    #[error("failed to set up container networking: {0}")]
    Net(#[from] dhow_net::Error),
}

fn joined(ids: &[ContainerId]) -> String {
    let ids: Vec<&str> = ids.iter().map(ContainerId::as_str).collect();
    ids.join(", ")
}

impl EngineError {
    pub fn invalid(message: impl Into<String>) -> EngineError {
        EngineError::Invalid(message.into())
    }

    /// An operation of the daemon's own that failed: `what` it was, in the shape "making X".
    pub fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> EngineError {
        move |source| EngineError::Io {
            what: what.to_string(),
            source,
        }
    }

    /// What a start that failed is known by to a client: Docker's command line takes its exit code from these
    /// words.
    pub fn start(what: &str, error: &StartError) -> EngineError {
        let exit_code = match error {
            StartError::NotFound(_) | StartError::Invalid(_) => 127,
            StartError::NotExecutable(_) => 126,
            StartError::Other(_) => 128,
        };
        let hint = match error {
            StartError::Invalid(words) if words.contains("not a directory") => {
                ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"
            }
            _ => "",
        };
        EngineError::Start {
            exit_code,
            message: format!("{what}: {error}: unknown{hint}"),
        }
    }

    /// The same, as the reason why something can't be done.
    pub fn cannot(what: impl std::fmt::Display) -> impl FnOnce(EngineError) -> EngineError {
        move |why| EngineError::Cannot {
            what: what.to_string(),
            why: Box::new(why),
        }
    }
}

impl From<dhow_api::FilterError> for EngineError {
    fn from(e: dhow_api::FilterError) -> Self {
        EngineError::Invalid(e.to_string())
    }
}

impl From<getrandom::Error> for EngineError {
    fn from(e: getrandom::Error) -> Self {
        EngineError::Internal(format!("random numbers: {e}"))
    }
}
