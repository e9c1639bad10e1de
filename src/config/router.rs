//! The Router of sentence-transformers (`sentence_transformers/base/modules/router.py`; Asym by its older name): modules that only
//! texts of one task go through.
//!
//! ```text
//! router_config.json: {"types": {ID: CLASS}, "structure": {ROUTE: [ID, ...]},
//!                      "parameters": {"default_route", "allow_empty_key", "route_mappings": {"(TASK, MODALITY)": ROUTE}}}
//! route(task) = mapping of (task, "text"), (task, None), (None, "text") or (None, None), the first that is there
//!               else the route that the task names; an error for a task without one; else the default route
//! ```

use crate::config::Object;
use crate::files::{ModelFolder, inside};
use crate::{Error, Result};

/// The names that the file may have, the first that is there.
const FILES: [&str; 2] = ["router_config.json", "config.json"];

/// The tasks of what is searched with and of what is searched: as sentence-transformers calls them, and as jina's models do.
pub(super) const RETRIEVAL_TASKS: [(&str, &str); 2] = [("query", "retrieval.query"), ("document", "retrieval.passage")];

/// Which route a text takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// The names of the routes, in their order.
    names: Vec<String>,
    default: Option<usize>,
    mappings: Vec<Mapping>,
}

/// A rule that comes before the routes' names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    /// None for any.
    task: Option<String>,
    /// Whether it is for texts alone, and not for whatever is embedded.
    for_text: bool,
    route: usize,
}

/// A module of a route.
pub(super) struct RouteModule {
    pub(super) class: String,
    /// Its subfolder of the model.
    pub(super) path: String,
    /// What is wrong with the class.
    pub(super) refusal: Box<dyn Fn(&str) -> Error>,
}

impl Router {
    /// Reads the file in the subfolder `path`: the rules, and the modules of each route.
    pub(super) fn read(folder: &ModelFolder, path: &str) -> Result<(Self, Vec<Vec<RouteModule>>)> {
        let [name, older] = FILES.map(|name| inside(path, name));
        let file = match Object::read(folder, &name)? {
            Some(file) => file,
            None => Object::require(folder, &older)?,
        };
        let types = file.required("types", file.object("types")?)?;
        let structure = file.required("structure", file.object("structure")?)?;
        let names: Vec<String> = structure.keys().map(str::to_owned).collect();
        if names.is_empty() {
            return Err(file.error("structure", "has no routes"));
        }
        let mut routes = Vec::new();
        for name in &names {
            let mut modules = Vec::new();
            for id in structure.texts(name)?.unwrap_or_default() {
                let class = types.required(id, types.text(id)?)?.to_owned();
                if id.split(['/', '\\']).any(|part| matches!(part, "" | "." | "..")) || id.contains([':', '\0']) {
                    let message = format!("expected the name of a folder, found \"{}\"", id.escape_debug());
                    return Err(structure.error(name, message));
                }
                let (types, key) = (types.clone(), id.to_owned());
                let refusal = Box::new(move |message: &str| types.error(&key, message));
                modules.push(RouteModule { class, path: inside(path, id), refusal });
            }
            routes.push(modules);
        }

        let parameters = file.object("parameters")?.unwrap_or_else(Object::empty);
        let place = |key: &str, object: &Object, name: &str| {
            let found = names.iter().position(|known| known == name);
            found.ok_or_else(|| object.error(key, format!("\"{name}\" is no route; there are {}", names.join(", "))))
        };
        let named = parameters.text("default_route")?;
        let first = parameters.boolean("allow_empty_key")?.unwrap_or(true).then_some(0);
        let default = match named {
            Some(name) => Some(place("default_route", &parameters, name)?),
            None => first,
        };
        let mut mappings = Vec::new();
        if let Some(saved) = parameters.object("route_mappings")? {
            for key in saved.keys() {
                let unreadable =
                    || saved.error(key, "expected \"(task, modality)\", as Python writes a tuple of str or None");
                let (task, modality) = tuple(key).ok_or_else(unreadable)?;
                let route = place(key, &saved, saved.required(key, saved.text(key)?)?)?;
                match modality {
                    Modality::Any => mappings.push(Mapping { task, for_text: false, route }),
                    Modality::Text => mappings.push(Mapping { task, for_text: true, route }),
                    // Images, say: no text takes it.
                    Modality::Other => {}
                }
            }
        }
        Ok((Self { names, default, mappings }, routes))
    }

    /// A route for each of the tasks by its name, and one more for texts without a task. Where none of the tasks is named for queries
    /// or for documents, as the calls for those are, the tasks for retrieval are those.
    pub(super) fn of_tasks(names: Vec<String>) -> Self {
        let place = |name: &str| names.iter().position(|known| known == name);
        let mappings =
            RETRIEVAL_TASKS.into_iter().filter(|(usual, _)| place(usual).is_none()).filter_map(|(usual, name)| {
                Some(Mapping { task: Some(usual.to_owned()), for_text: false, route: place(name)? })
            });
        Self { default: Some(names.len()), mappings: mappings.collect(), names }
    }

    /// The names of the routes, in their order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The place of the route that texts of `task` take.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no route for the task, or for texts without one.
    pub fn route(&self, task: Option<&str>) -> Result<usize> {
        for (task, for_text) in [(task, true), (task, false), (None, true), (None, false)] {
            let fits = |mapping: &&Mapping| mapping.task.as_deref() == task && mapping.for_text == for_text;
            if let Some(mapping) = self.mappings.iter().find(fits) {
                return Ok(mapping.route);
            }
        }
        let named = |name: &str| self.names.iter().position(|known| known == name);
        if let Some(route) = task.and_then(named).or_else(|| named("text")) {
            return Ok(route);
        }
        match (task, self.default) {
            (None, Some(route)) => Ok(route),
            (None, None) => Err(Error::argument("task", format!("is needed: one of {}", self.tasks()))),
            (Some(task), _) => Err(Error::argument("task", format!("{task:?} is not one of {}", self.tasks()))),
        }
    }

    /// The place of the route that stands for all where one is asked for: that of texts without a task, else the first.
    pub fn main_route(&self) -> usize {
        self.route(None).unwrap_or(0)
    }

    /// The tasks that have a route, for messages.
    fn tasks(&self) -> String {
        let mapped = self.mappings.iter().filter_map(|mapping| mapping.task.as_ref());
        let mut tasks: Vec<&String> = self.names.iter().chain(mapped).collect();
        tasks.dedup();
        tasks.iter().map(|task| format!("{task:?}")).collect::<Vec<_>>().join(", ")
    }
}

enum Modality {
    Any,
    Text,
    Other,
}

/// The parts of "('query', 'text')"; None for what is no such tuple.
fn tuple(text: &str) -> Option<(Option<String>, Modality)> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let (task, rest) = match inner.strip_prefix("None") {
        Some(rest) => (None, rest),
        None => {
            let quote = inner.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
            let (task, rest) = inner[1..].split_once(quote)?;
            (Some(task.to_owned()), rest)
        }
    };
    if task.as_ref().is_some_and(|task| task.contains('\\')) {
        return None;
    }
    let modality = match rest.strip_prefix(',')?.trim() {
        "None" => Modality::Any,
        "'text'" | "\"text\"" => Modality::Text,
        other if other.starts_with(['\'', '"', '(']) => Modality::Other,
        _ => return None,
    };
    Some((task, modality))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::folder;

    fn read(structure: &str, parameters: &str) -> Result<Router> {
        let types = r#""a": "x.Transformer", "b": "y.Pooling""#;
        let text = format!(r#"{{"types": {{{types}}}, "structure": {structure}, "parameters": {parameters}}}"#);
        let (_root, folder) = folder(&[("0_Router/router_config.json", &text)]);
        Router::read(&folder, "0_Router").map(|(router, _)| router)
    }

    const TWO: &str = r#"{"query": ["a", "b"], "document": ["a"]}"#;

    #[test]
    fn modules_are_in_subfolders() {
        let text = format!(r#"{{"types": {{"a": "x.Transformer", "b": "y.Pooling"}}, "structure": {TWO}}}"#);
        // The older name of the file.
        let (_root, folder) = folder(&[("config.json", &text)]);
        let (_, routes) = Router::read(&folder, "").unwrap();
        let found: Vec<Vec<_>> = routes
            .iter()
            .map(|route| route.iter().map(|module| (&module.class[..], &module.path[..])).collect())
            .collect();
        assert_eq!(found, [vec![("x.Transformer", "a"), ("y.Pooling", "b")], vec![("x.Transformer", "a")]]);
    }

    #[test]
    fn a_task_names_its_route() {
        let router = read(TWO, r#"{"default_route": "document", "allow_empty_key": true}"#).unwrap();
        let route = |task| router.route(task);
        assert_eq!([route(Some("query")).unwrap(), route(Some("document")).unwrap(), route(None).unwrap()], [0, 1, 1]);
        let message = route(Some("passage")).unwrap_err().to_string();
        assert_eq!(message, "task: \"passage\" is not one of \"query\", \"document\"");

        assert_eq!(read(TWO, "{}").unwrap().route(None).unwrap(), 0);
        let strict = read(TWO, r#"{"allow_empty_key": false}"#).unwrap();
        assert_eq!(strict.route(None).unwrap_err().to_string(), "task: is needed: one of \"query\", \"document\"");
        assert_eq!(strict.main_route(), 0);
    }

    #[test]
    fn mappings_come_first() {
        let mappings = r#"{"('search', 'text')": "query", "('store', None)": "document", "(None, 'image')": "query",
            "(None, ('image', 'text'))": "query"}"#;
        let router = read(TWO, &format!(r#"{{"default_route": "document", "route_mappings": {mappings}}}"#)).unwrap();
        for (task, route) in [(Some("search"), 0), (Some("store"), 1), (Some("query"), 0), (None, 1)] {
            assert_eq!(router.route(task).unwrap(), route, "{task:?}");
        }
        assert!(router.route(Some("image")).unwrap_err().to_string().contains("\"search\", \"store\""));
        let any = read(TWO, r#"{"route_mappings": {"(None, 'text')": "document"}}"#).unwrap();
        assert_eq!((any.route(Some("query")).unwrap(), any.route(Some("x")).unwrap()), (1, 1));
    }

    #[test]
    fn tasks_by_name_have_a_route_each_and_none_has_the_last() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let router = Router::of_tasks(names(&["separation", "retrieval.passage", "retrieval.query"]));
        for (task, route) in [
            (Some("separation"), 0),
            (Some("retrieval.passage"), 1),
            (Some("document"), 1),
            (Some("query"), 2),
            (None, 3),
        ] {
            assert_eq!(router.route(task).unwrap(), route, "{task:?}");
        }
        assert_eq!(router.main_route(), 3);
        let message = router.route(Some("cluster")).unwrap_err().to_string();
        assert!(message.ends_with("\"retrieval.query\", \"query\", \"document\""), "{message}");

        let other = Router::of_tasks(names(&["query", "retrieval.query"]));
        assert_eq!(other.route(Some("query")).unwrap(), 0);
        assert!(other.route(Some("document")).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_key() {
        for (structure, parameters, expected) in [
            ("{}", "{}", "structure: has no routes"),
            (r#"{"query": ["c"]}"#, "{}", "types.c: missing"),
            (r#"{"query": "a"}"#, "{}", "structure.query: expected a list of strings"),
            (
                TWO,
                r#"{"default_route": "image"}"#,
                "parameters.default_route: \"image\" is no route; there are query, document",
            ),
            (
                TWO,
                r#"{"route_mappings": {"(None, 'text')": "x"}}"#,
                "parameters.route_mappings.(None, 'text'): \"x\" is no",
            ),
            (TWO, r#"{"route_mappings": {"query": "query"}}"#, "parameters.route_mappings.query: expected \"(task"),
        ] {
            let message = read(structure, parameters).unwrap_err().to_string();
            assert!(message.starts_with(&format!("0_Router/router_config.json: {expected}")), "{message}");
        }
        for id in ["..", "a/../b", "C:x", ""] {
            let text = format!(r#"{{"types": {{"{id}": "x.Transformer"}}, "structure": {{"query": ["{id}"]}}}}"#);
            let (_root, folder) = folder(&[("router_config.json", &text)]);
            let message = Router::read(&folder, "").err().unwrap().to_string();
            assert!(message.contains("structure.query: expected the name of a folder"), "{message}");
        }
    }
}
