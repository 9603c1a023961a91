//! Redis in a container, by testcontainers.

use testcontainers::bollard::Docker;
use testcontainers::core::IntoContainerPort;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use super::{DEFAULT_IMAGE, variable};
use crate::group::Guard;

/// The port of Redis inside its container.
const INSIDE: u16 = 6379;

/// Name and tag of the image to start, if a Docker engine answers and has it. An image that was
/// asked for by name but is not there fails the test: another Redis is not what was asked for.
pub(super) async fn image() -> Option<(String, String)> {
    let asked = variable("EVERGREEN_TEST_REDIS_IMAGE");
    let image = asked.clone().unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
    let found = match docker_client_instance().await {
        Ok(docker) => docker
            .inspect_image(&image)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match (found, asked) {
        (Ok(_), _) => {
            let (name, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
            Some((name.to_owned(), tag.to_owned()))
        }
        (Err(why), Some(asked)) => panic!("EVERGREEN_TEST_REDIS_IMAGE={asked}: {why}"),
        (Err(_), None) => None,
    }
}

#[derive(Debug)]
pub(super) struct Container {
    /// There until it is dropped.
    inner: Option<ContainerAsync<GenericImage>>,
    docker: Docker,
    paused: bool,
    _guard: Guard,
}

impl Container {
    pub(super) async fn start(
        name: &str,
        tag: &str,
        port: u16,
        settings: &[&str],
    ) -> Result<Self, String> {
        let docker = docker_client_instance()
            .await
            .map_err(|error| error.to_string())?;
        let command = std::iter::once("redis-server").chain(settings.iter().copied());
        // The port is chosen here because one that Docker chooses changes with every restart.
        let inner = GenericImage::new(name, tag)
            .with_mapped_port(port, INSIDE.tcp())
            .with_cmd(command)
            .start()
            .await
            .map_err(|error| format!("a container of {name}:{tag}: {error}"))?;
        let guard = Guard::new(r#"docker rm --force --volumes "$0""#, inner.id())
            .map_err(|error| format!("the guard of a container: {error}"))?;
        Ok(Self {
            inner: Some(inner),
            docker,
            paused: false,
            _guard: guard,
        })
    }

    fn inner(&self) -> &ContainerAsync<GenericImage> {
        self.inner.as_ref().expect("it was not dropped")
    }

    pub(super) async fn peer_address(&self) -> (String, u16) {
        let about = self.docker.inspect_container(self.inner().id(), None).await;
        let about = about.expect("a container can be looked at");
        let networks = about
            .network_settings
            .and_then(|settings| settings.networks);
        let address = networks
            .into_iter()
            .flatten()
            .find_map(|(_, network)| network.ip_address);
        (address.expect("a running container has an address"), INSIDE)
    }

    pub(super) async fn pause(&mut self) {
        self.inner()
            .pause()
            .await
            .expect("a running container can be paused");
        self.paused = true;
    }

    pub(super) async fn resume(&mut self) {
        self.inner()
            .unpause()
            .await
            .expect("a paused container can go on");
        self.paused = false;
    }

    pub(super) async fn runs(&self) -> bool {
        let running = self.inner().is_running().await;
        running.expect("a container can be looked at")
    }

    pub(super) async fn kill(&mut self) {
        // Docker refuses to kill what is paused.
        if self.paused {
            self.resume().await;
        }
        if self.runs().await {
            let id = self.inner().id();
            self.docker
                .kill_container(id, None)
                .await
                .expect("a container can be killed");
        }
    }

    pub(super) async fn start_again(&mut self) {
        self.inner()
            .start()
            .await
            .expect("what started once starts again");
    }
}

impl Drop for Container {
    /// Away from the runtime. Where a container is let go of inside the future that a test's thread waits
    /// for, testcontainers waits for the engine on that thread, and takes for itself what is to wake the
    /// future: it then sleeps until something else wakes it, or for ever.
    fn drop(&mut self) {
        let inner = self.inner.take();
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime to remove a container on");
            let _entered = runtime.enter();
            drop(inner);
        });
        // The guard removes what is left.
        let _ = removal.join();
    }
}
