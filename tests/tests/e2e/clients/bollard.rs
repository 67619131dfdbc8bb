//! bollard, whose types are made from the Engine API's description: what doesn't fit them is an error here.

use std::collections::HashMap;
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerStateStatusEnum, ContainerUpdateBody,
    HostConfig, Mount, MountType, PortBinding, RestartPolicy, RestartPolicyNameEnum,
    VolumeCreateRequest,
};
use bollard::query_parameters as query;
use bollard::{API_DEFAULT_VERSION, Docker, body_full};
use dhow_tests::TestHost;
use dhow_tests::image::{self, Layer};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;

/// Runs a client's work on a host. None of it takes minutes.
fn with<F: Future<Output = Result<(), Error>>>(host: &TestHost, work: impl FnOnce(Docker) -> F) {
    let socket = host.socket().display().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let docker = Docker::connect_with_unix(&socket, 60, API_DEFAULT_VERSION)
            .expect("the socket is there");
        let docker = docker
            .negotiate_version()
            .await
            .expect("the versions overlap");
        let patience = Duration::from_secs(90) * dhow_tests::patience();
        tokio::time::timeout(patience, work(docker))
            .await
            .expect("it comes to an end")
            .expect("every call succeeds");
    });
}

/// Fails the test unless it was refused with this status and a message that has this in it.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, status: u16, says: &str) {
    match result {
        Err(Error::DockerResponseServerError {
            status_code,
            message,
        }) => {
            assert_eq!(status_code, status, "{message}");
            assert!(message.contains(says), "{message:?} has no {says:?}");
        }
        other => panic!("{status} is expected, not {other:?}"),
    }
}

fn body(command: &[&str]) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some("busybox".into()),
        cmd: Some(command.iter().map(|&word| word.into()).collect()),
        ..Default::default()
    }
}

async fn create(docker: &Docker, name: &str, body: ContainerCreateBody) -> Result<String, Error> {
    let options = query::CreateContainerOptionsBuilder::new()
        .name(name)
        .build();
    Ok(docker.create_container(Some(options), body).await?.id)
}

async fn start(docker: &Docker, name: &str) -> Result<(), Error> {
    docker.start_container(name, None).await
}

async fn remove(docker: &Docker, name: &str) -> Result<(), Error> {
    let options = query::RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true);
    docker.remove_container(name, Some(options.build())).await
}

/// The code that a container ends with.
async fn ended(docker: &Docker, name: &str) -> Result<i64, Error> {
    match docker.wait_container(name, None).try_next().await {
        Ok(answer) => Ok(answer.expect("a wait is answered once").status_code),
        Err(Error::DockerContainerWaitError { code, .. }) => Ok(code),
        Err(e) => Err(e),
    }
}

/// Standard output, standard error and what comes from a terminal.
async fn outputs(
    stream: impl Stream<Item = Result<LogOutput, Error>>,
) -> Result<[String; 3], Error> {
    let mut said = [Vec::new(), Vec::new(), Vec::new()];
    let mut stream = std::pin::pin!(stream);
    while let Some(output) = stream.try_next().await? {
        let into = match output {
            LogOutput::StdOut { .. } => 0,
            LogOutput::StdErr { .. } => 1,
            LogOutput::StdIn { .. } | LogOutput::Console { .. } => 2,
        };
        said[into].extend_from_slice(output.as_ref());
    }
    Ok(said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Reads on until this has been said.
async fn until(
    stream: &mut (impl Stream<Item = Result<LogOutput, Error>> + Unpin),
    wanted: &str,
) -> Result<(), Error> {
    let mut said = String::new();
    while !said.contains(wanted) {
        match stream.try_next().await? {
            Some(output) => said += &output.to_string(),
            None => panic!("{wanted:?} is never said: {said:?}"),
        }
    }
    Ok(())
}

fn filters(pairs: &[(&str, &str)]) -> HashMap<String, Vec<String>> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()]))
        .collect()
}

#[test]
fn containers() {
    let host = TestHost::start();
    with(&host, |docker| async move {
        assert_eq!(docker.ping().await?, "OK");
        assert!(docker.version().await?.api_version.is_some());
        assert_eq!(docker.info().await?.os_type.as_deref(), Some("linux"));
        attach(&docker).await?;
        logs(&docker).await?;
        execs(&docker).await?;
        changes(&docker).await?;
        stats_and_events(&docker).await?;
        archives(&docker).await?;
        refusals(&docker).await
    });
}

async fn attach(docker: &Docker) -> Result<(), Error> {
    let how = |tty| ContainerCreateBody {
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        tty: Some(tty),
        ..body(&["sh", "-c", "cat; echo end >&2; exit 3"])
    };
    let all = query::AttachContainerOptionsBuilder::new()
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .stream(true)
        .build();
    create(docker, "attached", how(false)).await?;
    let AttachContainerResults { output, mut input } = docker
        .attach_container("attached", Some(all.clone()))
        .await?;
    start(docker, "attached").await?;
    input.write_all(b"one\ntwo\n").await?;
    input.shutdown().await?;
    let said = outputs(output).await?;
    assert_eq!(said, ["one\ntwo\n", "end\n", ""]);
    assert_eq!(ended(docker, "attached").await?, 3);
    remove(docker, "attached").await?;
    // A terminal, which has a size.
    let terminal = ContainerCreateBody {
        cmd: Some(vec!["sh".into()]),
        ..how(true)
    };
    create(docker, "terminal", terminal).await?;
    let AttachContainerResults {
        mut output,
        mut input,
    } = docker.attach_container("terminal", Some(all)).await?;
    start(docker, "terminal").await?;
    until(&mut output, "#").await?;
    let size = query::ResizeContainerTTYOptionsBuilder::new().h(33).w(77);
    docker
        .resize_container_tty("terminal", size.build())
        .await?;
    input.write_all(b"stty size\n").await?;
    until(&mut output, "33 77").await?;
    input.write_all(b"exit 4\n").await?;
    assert_eq!(ended(docker, "terminal").await?, 4);
    remove(docker, "terminal").await?;
    // Gone before it is waited for: what it has come to is told all the same.
    let brief = ContainerCreateBody {
        host_config: Some(HostConfig {
            auto_remove: Some(true),
            ..Default::default()
        }),
        ..body(&["sh", "-c", "exit 5"])
    };
    let id = create(docker, "brief", brief).await?;
    start(docker, &id).await?;
    assert_eq!(ended(docker, &id).await?, 5);
    Ok(())
}

async fn logs(docker: &Docker) -> Result<(), Error> {
    let script = "echo one; echo two; sleep 0.3; echo last >&2; sleep 0.1";
    create(docker, "talks", body(&["sh", "-c", script])).await?;
    start(docker, "talks").await?;
    let both = || query::LogsOptionsBuilder::new().stdout(true).stderr(true);
    let followed = outputs(docker.logs("talks", Some(both().follow(true).build()))).await?;
    assert_eq!(followed, ["one\ntwo\n", "last\n", ""]);
    let tail = outputs(docker.logs("talks", Some(both().tail("2").build()))).await?;
    assert_eq!(tail, ["two\n", "last\n", ""]);
    let stamped = both().timestamps(true).tail("1").build();
    let [_, stamped, _] = outputs(docker.logs("talks", Some(stamped))).await?;
    assert!(stamped.ends_with("Z last\n"), "{stamped}");
    remove(docker, "talks").await
}

async fn execs(docker: &Docker) -> Result<(), Error> {
    create(docker, "executes", body(&["sleep", "1000"])).await?;
    start(docker, "executes").await?;
    let options = |command: &[&str], tty| CreateExecOptions::<String> {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(tty),
        cmd: Some(command.iter().map(|&word| word.into()).collect()),
        env: Some(vec!["B=2".into()]),
        ..Default::default()
    };
    let command = ["sh", "-c", "cat; echo $B; echo err >&2; exit 6"];
    let exec = docker
        .create_exec("executes", options(&command, false))
        .await?;
    let StartExecResults::Attached { output, mut input } =
        docker.start_exec(&exec.id, None).await?
    else {
        panic!("it was not to be detached")
    };
    input.write_all(b"ahoy\n").await?;
    input.shutdown().await?;
    assert_eq!(outputs(output).await?, ["ahoy\n2\n", "err\n", ""]);
    let inspected = docker.inspect_exec(&exec.id).await?;
    assert_eq!(
        (inspected.exit_code, inspected.running),
        (Some(6), Some(false))
    );
    // A terminal.
    let exec = docker
        .create_exec("executes", options(&["sh"], true))
        .await?;
    let started = StartExecOptions {
        tty: true,
        ..Default::default()
    };
    let StartExecResults::Attached {
        mut output,
        mut input,
    } = docker.start_exec(&exec.id, Some(started)).await?
    else {
        panic!("it was not to be detached")
    };
    until(&mut output, "#").await?;
    let size = ResizeExecOptions {
        height: 20,
        width: 50,
    };
    docker.resize_exec(&exec.id, size).await?;
    input.write_all(b"stty size; exit 7\n").await?;
    until(&mut output, "20 50").await?;
    while output.try_next().await?.is_some() {}
    assert_eq!(docker.inspect_exec(&exec.id).await?.exit_code, Some(7));
    // Nobody attached.
    let exec = docker
        .create_exec("executes", options(&["sleep", "1000"], false))
        .await?;
    let detached = StartExecOptions {
        detach: true,
        ..Default::default()
    };
    docker.start_exec(&exec.id, Some(detached)).await?;
    assert_eq!(docker.inspect_exec(&exec.id).await?.running, Some(true));
    refused(
        docker.inspect_exec(&"0".repeat(64)).await,
        404,
        "such exec instance",
    );
    let nothing = docker.create_exec("executes", options(&[], false)).await;
    refused(nothing, 400, "exec command specified");
    remove(docker, "executes").await
}

async fn changes(docker: &Docker) -> Result<(), Error> {
    let port = PortBinding {
        host_ip: Some("127.0.0.1".into()),
        host_port: Some(String::new()),
    };
    let host_config = HostConfig {
        memory: Some(64 << 20),
        port_bindings: Some([("80/tcp".to_owned(), Some(vec![port]))].into()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ON_FAILURE),
            maximum_retry_count: Some(2),
        }),
        mounts: Some(vec![Mount {
            typ: Some(MountType::VOLUME),
            source: Some("held".into()),
            target: Some("/data".into()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    let body = ContainerCreateBody {
        exposed_ports: Some(vec!["80/tcp".into()]),
        labels: Some([("a".to_owned(), "b".to_owned())].into()),
        host_config: Some(host_config),
        ..body(&["sleep", "1000"])
    };
    let volume = VolumeCreateRequest {
        name: Some("held".into()),
        ..Default::default()
    };
    assert_eq!(docker.create_volume(volume).await?.name, "held");
    let id = create(docker, "looked-at", body).await?;
    start(docker, &id).await?;
    let found = docker.inspect_container("looked-at", None).await?;
    assert_eq!(found.id.as_deref(), Some(&*id));
    let status = found.state.and_then(|state| state.status);
    assert_eq!(status, Some(ContainerStateStatusEnum::RUNNING));
    let mounted = found.mounts.unwrap_or_default();
    assert_eq!(mounted[0].name.as_deref(), Some("held"));
    let listed = query::ListContainersOptionsBuilder::new()
        .filters(&filters(&[("label", "a=b"), ("status", "running")]))
        .build();
    let listed = docker.list_containers(Some(listed)).await?;
    let ports = listed[0].ports.as_ref().expect("one is published");
    assert_eq!(ports[0].private_port, 80);
    let top = docker.top_processes("looked-at", None).await?;
    assert_eq!(top.processes.map(|all| all.len()), Some(1));
    let update = ContainerUpdateBody {
        memory: Some(128 << 20),
        memory_swap: Some(256 << 20),
        ..Default::default()
    };
    docker.update_container("looked-at", update).await?;
    let name = query::RenameContainerOptionsBuilder::new().name("renamed");
    docker.rename_container("looked-at", name.build()).await?;
    docker.pause_container("renamed").await?;
    docker.unpause_container("renamed").await?;
    docker
        .restart_container(
            "renamed",
            Some(query::RestartContainerOptionsBuilder::new().t(0).build()),
        )
        .await?;
    docker.kill_container("renamed", None).await?;
    assert_eq!(ended(docker, "renamed").await?, 137);
    refused(
        docker
            .remove_volume("held", None::<query::RemoveVolumeOptions>)
            .await,
        409,
        "volume is in use",
    );
    remove(docker, "renamed").await?;
    docker
        .remove_volume("held", None::<query::RemoveVolumeOptions>)
        .await?;
    refused(docker.inspect_volume("held").await, 404, "no such volume");
    assert!(!docker.list_networks(None).await?.is_empty());
    Ok(())
}

async fn stats_and_events(docker: &Docker) -> Result<(), Error> {
    let watched = query::EventsOptionsBuilder::new()
        .filters(&filters(&[
            ("type", "container"),
            ("container", "eventful"),
        ]))
        .build();
    let mut events = Box::pin(docker.events(Some(watched)));
    let labelled = ContainerCreateBody {
        labels: Some([("why".to_owned(), "so".to_owned())].into()),
        ..body(&["sleep", "1000"])
    };
    // The request is made when the stream is first asked: what has happened by then is past.
    let acting = async {
        create(docker, "eventful", labelled).await?;
        start(docker, "eventful").await?;
        let two: Vec<_> = docker.stats("eventful", None).take(2).try_collect().await?;
        let one = query::StatsOptionsBuilder::new().stream(false).build();
        let one = docker.stats("eventful", Some(one)).try_next().await?;
        for stats in two.into_iter().chain(one) {
            assert!(stats.memory_stats.and_then(|memory| memory.usage) > Some(0));
            assert_eq!(stats.pids_stats.and_then(|pids| pids.current), Some(1));
        }
        remove(docker, "eventful").await
    };
    let watching = async {
        let mut actions = Vec::new();
        while let Some(event) = events.try_next().await? {
            let attributes = event.actor.and_then(|actor| actor.attributes);
            let attributes = attributes.unwrap_or_default();
            assert_eq!(attributes.get("why").map(String::as_str), Some("so"));
            actions.extend(event.action);
            if actions.last().is_some_and(|action| action == "destroy") {
                break;
            }
        }
        Ok::<_, Error>(actions)
    };
    let (actions, ()) = futures_util::try_join!(watching, acting)?;
    assert_eq!(actions, ["create", "start", "kill", "die", "destroy"]);
    Ok(())
}

async fn archives(docker: &Docker) -> Result<(), Error> {
    let mut layer = Layer::default();
    let file = layer.file("cargo/one", 0o640, b"first");
    let archive = file.and_then(|()| layer.finish()).expect("it is in memory");
    create(docker, "filled", body(&["true"])).await?;
    let to = |path| {
        query::UploadToContainerOptionsBuilder::new()
            .path(path)
            .build()
    };
    let full = || body_full(archive.clone().into());
    docker
        .upload_to_container("filled", Some(to("/root")), full())
        .await?;
    let at = query::ContainerArchiveInfoOptionsBuilder::new().path("/root/cargo/one");
    let stat = docker
        .get_container_archive_info("filled", Some(at.build()))
        .await?;
    assert_eq!((stat.name.as_str(), stat.size), ("one", 5));
    let from = query::DownloadFromContainerOptionsBuilder::new().path("/root/cargo");
    let pieces = docker.download_from_container("filled", Some(from.build()));
    let bytes: Vec<u8> = pieces.try_collect::<Vec<_>>().await?.concat();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let names: Vec<_> = archive
        .entries()?
        .map(|entry| Ok(entry?.path()?.display().to_string()))
        .collect::<std::io::Result<_>>()?;
    assert_eq!(names, ["cargo/", "cargo/one"]);
    let none = docker
        .upload_to_container("filled", Some(to("/nosuch")), full())
        .await;
    refused(none, 404, "Could not find the file /nosuch");
    let changed = docker
        .container_changes("filled")
        .await?
        .unwrap_or_default();
    assert!(
        changed
            .iter()
            .any(|change| change.path == "/root/cargo/one")
    );
    remove(docker, "filled").await
}

async fn refusals(docker: &Docker) -> Result<(), Error> {
    create(docker, "taken", body(&["true"])).await?;
    refused(
        create(docker, "taken", body(&["true"])).await,
        409,
        "is already in use by container",
    );
    remove(docker, "taken").await?;
    let unknown = ContainerCreateBody {
        image: Some("nosuch:1".into()),
        ..Default::default()
    };
    refused(
        create(docker, "x", unknown).await,
        404,
        "No such image: nosuch:1",
    );
    refused(
        create(docker, "bad name", body(&["true"])).await,
        400,
        "Invalid container name",
    );
    refused(
        start(docker, "nosuch").await,
        404,
        "No such container: nosuch",
    );
    refused(
        docker.inspect_container("nosuch", None).await,
        404,
        "No such container: nosuch",
    );
    let nosuch = query::ListContainersOptionsBuilder::new().filters(&filters(&[("nosuch", "x")]));
    refused(
        docker.list_containers(Some(nosuch.build())).await,
        400,
        "invalid filter",
    );
    create(docker, "wrong", body(&["/nosuch"])).await?;
    refused(
        start(docker, "wrong").await,
        400,
        "no such file or directory",
    );
    remove(docker, "wrong").await
}

const NONE: Option<query::RemoveImageOptions> = None;

#[test]
fn images() {
    let host = TestHost::empty();
    with(&host, |docker| async move {
        let pull = |name: &str| {
            let options = query::CreateImageOptionsBuilder::new()
                .from_image(name)
                .build();
            docker.create_image(Some(options), None, None)
        };
        let said: Vec<_> = pull("busybox:latest").try_collect().await?;
        let last = said.last().and_then(|line| line.status.as_deref());
        assert_eq!(
            last,
            Some("Status: Downloaded newer image for busybox:latest")
        );
        refused(pull("nosuch/image:1").try_next().await, 404, "nosuch/image");
        let found = docker.inspect_image("busybox").await?;
        assert_eq!(found.repo_tags, Some(vec!["busybox:latest".into()]));
        // From a container, to the registry and back.
        create(&docker, "writes", body(&["sh", "-c", "echo kept > /file"])).await?;
        start(&docker, "writes").await?;
        assert_eq!(ended(&docker, "writes").await?, 0);
        let commit = query::CommitContainerOptionsBuilder::new()
            .container("writes")
            .repo("made")
            .tag("1")
            .comment("why")
            .changes("LABEL c=d");
        let config = ContainerConfig {
            cmd: Some(vec!["cat".into(), "/file".into()]),
            ..Default::default()
        };
        let id = docker.commit_container(commit.build(), config).await?.id;
        remove(&docker, "writes").await?;
        let repository = "127.0.0.1:5000/rs/made";
        let tag = query::TagImageOptionsBuilder::new()
            .repo(repository)
            .tag("x");
        docker.tag_image("made:1", Some(tag.build())).await?;
        let push = query::PushImageOptionsBuilder::new().tag("x").build();
        let pushing = docker.push_image(repository, Some(push), None);
        let pushed: Vec<_> = pushing.try_collect().await?;
        let digest = |line: &bollard::models::PushImageInfo| {
            line.status
                .as_ref()
                .is_some_and(|said| said.contains("digest: sha256:"))
        };
        assert!(pushed.iter().any(digest), "{pushed:?}");
        let name = format!("{repository}:x");
        docker.remove_image(&name, NONE, None).await?;
        let _: Vec<_> = pull(&name).try_collect().await?;
        assert_eq!(docker.inspect_image(&name).await?.id, Some(id.clone()));
        docker.remove_image(&name, NONE, None).await?;
        // To an archive and back.
        let pieces = docker
            .export_image("made:1")
            .try_collect::<Vec<_>>()
            .await?;
        let removed = docker.remove_image("made:1", NONE, None).await?;
        assert!(
            removed.iter().any(|one| one.deleted.is_some()),
            "{removed:?}"
        );
        let import = query::ImportImageOptionsBuilder::new().build();
        let loading = docker.import_image(import, body_full(pieces.concat().into()), None);
        let _: Vec<_> = loading.try_collect().await?;
        assert_eq!(docker.inspect_image("made:1").await?.id, Some(id));
        let history = docker.image_history("made:1").await?;
        assert_eq!(history[0].comment, "why");
        // From any archive of files.
        let source = query::CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo("imported")
            .tag("2");
        let root = body_full(image::busybox_layer_tar().into());
        let _: Vec<_> = docker
            .create_image(Some(source.build()), Some(root), None)
            .try_collect()
            .await?;
        let imported =
            query::ListImagesOptionsBuilder::new().filters(&filters(&[("reference", "imported")]));
        let imported = docker.list_images(Some(imported.build())).await?;
        assert_eq!(imported[0].repo_tags, ["imported:2"]);
        // What can't be.
        refused(
            docker.inspect_image("nosuch").await,
            404,
            "No such image: nosuch",
        );
        let upper = query::TagImageOptionsBuilder::new().repo("UPPER").build();
        refused(
            docker.tag_image("busybox", Some(upper)).await,
            400,
            "invalid reference format",
        );
        let junk = query::ImportImageOptionsBuilder::new().build();
        let junk = docker
            .import_image(junk, body_full("no archive".repeat(200).into()), None)
            .try_next()
            .await;
        assert!(
            matches!(junk, Err(Error::DockerStreamError { .. })),
            "{junk:?}"
        );
        create(&docker, "uses", body(&["true"])).await?;
        refused(
            docker.remove_image("busybox", NONE, None).await,
            409,
            "container",
        );
        remove(&docker, "uses").await?;
        let unused = docker
            .prune_images(None::<query::PruneImagesOptions>)
            .await?;
        assert!(unused.space_reclaimed.is_some());
        docker.df(None::<query::DataUsageOptions>).await?;
        Ok(())
    });
}
