//! The image that the binary carries, for where no registry can be reached.

use dhow_tests::{Engine, TestHost};

#[test]
fn hello_world_comes_out_of_the_binary_where_docker_io_is_out_of_reach() {
    let mut host = TestHost::empty();
    if host.engine != Engine::Dhow {
        return;
    }
    host.stop_registry();
    let finished = host.sh("dhow run hello-world");
    assert!(finished.stdout.contains("Hello from Dhow"), "{finished:#?}");
    // The client says where it came from.
    assert!(
        finished
            .stderr
            .contains("docker.io can't be reached: using the hello-world that is part of dhow"),
        "{finished:#?}"
    );
    finished.ok();
    // Through the stock client as well, now that it is there.
    assert!(
        host.sh("docker run --rm hello-world")
            .ok()
            .contains("Hello from Dhow")
    );
    host.sh("docker rm $(docker ps -aq) && docker rmi hello-world")
        .ok();
}

#[test]
fn a_registry_that_has_the_image_goes_before_the_binary() {
    let host = TestHost::empty();
    if host.engine != Engine::Dhow {
        return;
    }
    host.push_image(dhow_tests::image::busybox(), "library/hello-world:latest");
    assert_eq!(
        host.sh("dhow run --rm hello-world echo from the registry")
            .ok(),
        "from the registry"
    );
}
