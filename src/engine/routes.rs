//! The networks of a model, and which of them a text goes through.

use std::sync::Arc;

use crate::Result;
use crate::config::Router;
use crate::engine::shared_network::SharedNetwork;

/// One network, or one for each route of a Router. Routes of the same modules share theirs.
#[derive(Clone)]
pub struct Routes {
    networks: Vec<Arc<SharedNetwork>>,
    router: Option<Router>,
}

impl Routes {
    /// A network by itself, which has no tasks.
    pub(super) fn one(network: SharedNetwork) -> Self {
        Self { networks: vec![Arc::new(network)], router: None }
    }

    /// The networks of a Router's routes, in their order.
    pub(super) fn new(networks: Vec<Arc<SharedNetwork>>, router: Option<Router>) -> Self {
        Self { networks, router }
    }

    /// The network of texts without a task, or, where they need one, of the first route.
    pub fn main(&self) -> &Arc<SharedNetwork> {
        &self.networks[self.router.as_ref().map_or(0, Router::main_route)]
    }

    /// The network of texts of `task`; where there are no tasks, the only one.
    pub fn of(&self, task: Option<&str>) -> Result<&Arc<SharedNetwork>> {
        let route = self.router.as_ref().map_or(Ok(0), |router| router.route(task))?;
        Ok(&self.networks[route])
    }

    /// Whether texts have tasks.
    pub fn has_tasks(&self) -> bool {
        self.router.is_some()
    }

    /// Bytes of the weights of all networks.
    pub fn weight_bytes(&self) -> usize {
        self.distinct().map(|network| network.network().weight_bytes()).sum()
    }

    /// The most tokens of an input: the one that is wanted, which every network must have positions for, else the largest that the
    /// files of one allow.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] where a network refuses what is wanted.
    pub fn max_length(&self, wanted: Option<usize>) -> Result<Option<usize>> {
        let Some(length) = wanted else {
            let own: Option<Vec<usize>> = self.distinct().map(|network| network.network().own_length()).collect();
            return Ok(own.and_then(|lengths| lengths.into_iter().max()));
        };
        self.distinct().try_for_each(|network| network.network().check_max_length(length))?;
        Ok(wanted)
    }

    /// Each network once.
    fn distinct(&self) -> impl Iterator<Item = &Arc<SharedNetwork>> {
        let networks = &self.networks;
        let is_new = move |(i, network): &(usize, &Arc<SharedNetwork>)| {
            !networks[..*i].iter().any(|other| Arc::ptr_eq(other, network))
        };
        networks.iter().enumerate().filter(is_new).map(|(_, network)| network)
    }
}
