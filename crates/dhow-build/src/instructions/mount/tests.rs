use super::*;
use crate::expand::{Env, Lex};

fn read(text: &str) -> Result<Mount, String> {
    let env: Env = ["KIND=cache", "DIR=/var"].into_iter().collect();
    let spec = MountSpec::parse(text).map_err(|e| e.to_string())?;
    let mut expander = Expander::new(Lex::new('\\'), &env);
    spec.resolve(&mut expander).map_err(|e| e.to_string())
}

fn nobody() -> Owner {
    Owner::default()
}

#[test]
fn each_kind_has_its_defaults() {
    assert_eq!(
        read("target=/a,from=base"),
        Ok(Mount::Bind {
            from: Some("base".to_owned()),
            source: String::new(),
            target: "/a".to_owned(),
            read_only: true,
        })
    );
    assert_eq!(
        read("type=$KIND,target=$DIR/cache/,sharing=locked,uid=1,mode=0755"),
        Ok(Mount::Cache {
            id: "/var/cache".to_owned(),
            sharing: Sharing::Locked,
            from: None,
            source: String::new(),
            target: "/var/cache/".to_owned(),
            read_only: false,
            owner: Owner {
                uid: Some(1),
                gid: None,
                mode: Some(0o755),
            },
        })
    );
    assert_eq!(
        read("type=tmpfs,dst=/t,size=1m,ro"),
        Ok(Mount::Tmpfs {
            target: "/t".to_owned(),
            read_only: true,
            size: 1 << 20,
        })
    );
    assert_eq!(
        read("type=ssh"),
        Ok(Mount::Ssh {
            id: "default".to_owned(),
            target: None,
            required: false,
            owner: nobody(),
        })
    );
}

#[test]
fn a_secret_is_a_file_a_variable_or_both() {
    let secret = |id: &str, target: Option<&str>, env: Option<&str>, required| {
        Ok(Mount::Secret {
            id: id.to_owned(),
            target: target.map(str::to_owned),
            env: env.map(str::to_owned),
            required,
            owner: nobody(),
        })
    };
    let default = Some("/run/secrets/a");
    assert_eq!(
        read("type=secret,id=x/a"),
        secret("x/a", default, None, false)
    );
    assert_eq!(
        read("type=secret,target=/s/k,required"),
        secret("k", Some("/s/k"), None, true)
    );
    assert_eq!(
        read("type=secret,id=a,env=TOKEN,required=false"),
        secret("a", None, Some("TOKEN"), false)
    );
    assert_eq!(
        read("type=secret,src=a,env=T,target=/f"),
        secret("a", Some("/f"), Some("T"), false)
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    for (text, message) in [
        ("", "failed to parse csv mounts: EOF"),
        (
            "type=bnd",
            "unsupported mount type \"bnd\" (did you mean bind?)",
        ),
        ("type=cache,sharing=x", "unsupported sharing value \"x\""),
        (
            "targt=/a",
            "unexpected key 'targt' in 'targt=/a' (did you mean target?)",
        ),
        ("target", "invalid field 'target' must be a key=value pair"),
        (
            "required",
            "unexpected key 'required' for mount type 'bind'",
        ),
        ("size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,size=x", "invalid value for size: x"),
        ("ro=maybe", "invalid value for ro: maybe"),
        ("uid=0", "uid not allowed for \"bind\" type mounts"),
        ("type=cache,mode=9", "invalid value 9 for mode"),
        ("type=cache,gid=-1", "invalid value -1 for gid"),
        ("type=ssh,source=a", "ssh does not support source"),
        (
            "type=secret",
            "invalid secret mount. one of source, target required",
        ),
        ("type=secret,id=a,src=b", "both source and id can't be set"),
        (
            "type=secret,id=a,from=b",
            "secret mount should not have a from",
        ),
        (
            "type=tmpfs,sharing=locked",
            "invalid cache sharing set for tmpfs mount",
        ),
        (
            "from=$X",
            "'from' doesn't support variable expansion, define alias stage instead",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), message, "{text}");
    }
}
