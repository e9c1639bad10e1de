//! The borders between the modules of `src/`, checked by reading the sources: imports point one way, Python's crates
//! stay in `src/python/`, candle below the networks, `unsafe` stays where it is allowed, each block under its `SAFETY:`
//! comment, and files do not use each other in a circle.
//!
//! Reading finds what compiling does not: code that another target, feature or macro would compile.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Which module may use which others. A module names only modules above it, so that imports cannot form a circle.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("panic", &["error"]),
    ("memory", &["error"]),
    ("profile", &[]),
    ("kernels", &["error", "profile", "panic", "memory"]),
    ("pool", &["error", "profile", "panic", "kernels"]),
    ("files", &["error", "memory"]),
    ("weights", &["error", "memory", "files"]),
    ("gguf", &["error", "files", "weights"]),
    ("hub", &["error", "files", "weights", "gguf"]),
    ("config", &["error", "files", "weights"]),
    ("text", &["error", "panic", "memory", "files", "config"]),
    ("gpu", &["error", "kernels"]),
    ("nn", &["error", "memory", "profile", "files", "weights", "kernels", "gpu"]),
    ("device", &["error", "profile", "panic", "kernels", "gpu", "nn"]),
    ("models", &["error", "profile", "files", "weights", "config", "text", "kernels", "nn"]),
    ("pipeline", &["error", "memory", "profile", "files", "weights", "config", "text", "kernels", "nn"]),
    (
        "engine",
        &[
            "error", "memory", "panic", "profile", "files", "weights", "config", "text", "kernels", "nn", "device",
            "models", "pipeline", "pool",
        ],
    ),
    ("store", &["error", "memory", "panic", "profile", "kernels", "nn", "device", "pool"]),
    ("serve", &["error", "memory", "panic", "text", "device", "pipeline", "engine"]),
    (
        "python",
        &[
            "error", "memory", "panic", "profile", "files", "hub", "config", "text", "gpu", "nn", "device", "pipeline",
            "pool", "engine", "store", "serve",
        ],
    ),
];

/// Which modules may name candle, outside of unit tests. `kernels` know slices, and networks hidden states.
const MAY_USE_CANDLE: &[&str] = &["nn", "device", "store"];

const UNSAFE_CODE: &[&str] = &["device/library.rs", "gpu/context.rs", "kernels/", "weights/mmap.rs", "python/numpy.rs"];

/// Files that use each other in a circle because they are one thing, with the reason. A circle is written as its files in
/// alphabetical order.
const KNOTS: &[(&[&str], &str)] = &[];

/// What stands at the crate's root without being a module: the name and the module it comes from.
type Exports = HashMap<String, String>;

struct Token {
    /// An identifier, `::` or one character of punctuation; literals leave an empty text.
    text: String,
    line: usize,
    /// A comment with `SAFETY:` stands between this token and the one before.
    safety: bool,
}

struct Source {
    /// Relative to `src/`, with `/`.
    path: String,
    tokens: Vec<Token>,
}

impl Source {
    fn new(path: &str, code: &str) -> Self {
        Self { path: path.to_owned(), tokens: tokenize(code) }
    }

    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// Steps from the crate's root to the module that this file is.
    fn depth(&self) -> usize {
        self.path.trim_end_matches(".rs").split('/').filter(|part| !matches!(*part, "mod" | "lib")).count()
    }

    fn text(&self, token: usize) -> &str {
        self.tokens.get(token).map_or("", |token| &token.text)
    }

    fn complaint(&self, token: usize, what: impl std::fmt::Display) -> String {
        format!("src/{}:{}: {what}", self.path, self.tokens[token].line)
    }

    /// The paths that start at a token, with `{…}` written out, and the token after them.
    fn paths(&self, start: usize) -> (Vec<Vec<&str>>, usize) {
        let mut path = Vec::new();
        let mut at = start;
        while is_name(self.text(at)) || self.text(at) == "*" {
            path.push(self.text(at));
            if self.text(at + 1) != "::" {
                return (vec![path], at + 1);
            }
            at += 2;
        }
        if self.text(at) != "{" {
            return (vec![path], at);
        }
        let mut paths = Vec::new();
        at += 1;
        while !matches!(self.text(at), "}" | "") {
            let (tails, next) = self.paths(at);
            paths.extend(tails.into_iter().map(|tail| [path.as_slice(), &tail].concat()));
            // Past `as name` and the comma.
            at =
                (next..self.tokens.len()).find(|&end| matches!(self.text(end), "," | "}")).unwrap_or(self.tokens.len());
            at += usize::from(self.text(at) == ",");
        }
        (paths, at + 1)
    }

    /// The names that this file reaches at the crate's root, each with the token where its path starts.
    fn names_at_root(&self) -> Vec<(usize, &str)> {
        let mut names = Vec::new();
        // For each open brace, whether it opened an inline module.
        let mut braces = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            match self.text(at) {
                "{" => braces.push(at >= 2 && self.text(at - 2) == "mod"),
                "}" => _ = braces.pop(),
                "crate" | "super" | "self" => {
                    let depth = self.depth() + braces.iter().filter(|&&module| module).count();
                    let (paths, next) = self.paths(at);
                    names.extend(paths.iter().filter_map(|path| Some((at, name_at_root(path, depth)?))));
                    at = next;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        names
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// What a path that starts with `crate`, `super` or `self` names at the crate's root, if it gets there from `depth`.
fn name_at_root<'a>(path: &[&'a str], depth: usize) -> Option<&'a str> {
    if path[0] == "crate" {
        return path.get(1).copied();
    }
    let path = path.strip_prefix(&["self"]).unwrap_or(path);
    let up = path.iter().take_while(|&&part| part == "super").count();
    if up >= depth { path.get(up).copied() } else { None }
}

/// Splits Rust code into what the rules look at.
fn tokenize(code: &str) -> Vec<Token> {
    let chars: Vec<char> = code.chars().collect();
    let starts = |at: usize, with: &str| with.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let mut tokens = Vec::new();
    let (mut at, mut line, mut safety) = (0, 1, false);
    while at < chars.len() {
        let start = at;
        let mut text = None;
        if chars[at].is_whitespace() {
            at += 1;
        } else if starts(at, "//") {
            at = (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len());
            safety |= chars[start..at].iter().collect::<String>().contains("SAFETY:");
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if starts(at, "/*") {
                    (depth, at) = (depth + 1, at + 2);
                } else if starts(at, "*/") {
                    (depth, at) = (depth - 1, at + 2);
                } else {
                    at += 1;
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
            safety |= chars[start..at.min(chars.len())].iter().collect::<String>().contains("SAFETY:");
        } else if let Some(hashes) = raw_string(&chars[at..]) {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = (at..chars.len()).find(|&i| chars[i] == '"').unwrap_or(at);
            at = (open + 1..chars.len()).find(|&i| starts(i, &end)).map_or(chars.len(), |i| i + end.len());
            text = Some(String::new());
        } else if chars[at] == '"' || (chars[at] == '\'' && (starts(at + 1, "\\") || starts(at + 2, "'"))) {
            let quote = chars[at];
            at += 1;
            while at < chars.len() && chars[at] != quote {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
            text = Some(String::new());
        } else if chars[at].is_alphanumeric() || matches!(chars[at], '_' | '\'') {
            at = (at + 1..chars.len()).find(|&i| !chars[i].is_alphanumeric() && chars[i] != '_').unwrap_or(chars.len());
            text = Some(if is_name(&chars[start].to_string()) {
                chars[start..at].iter().collect()
            } else {
                String::new()
            });
        } else {
            at += if starts(at, "::") { 2 } else { 1 };
            text = Some(chars[start..at].iter().collect());
        }
        if let Some(text) = text {
            tokens.push(Token { text, line, safety: std::mem::take(&mut safety) });
        }
        line += chars[start..at.min(chars.len())].iter().filter(|&&c| c == '\n').count();
    }
    tokens
}

/// The number of hashes, if a raw string starts here.
fn raw_string(code: &[char]) -> Option<usize> {
    let prefix = code.iter().take(2).position(|&c| c == 'r')? + 1;
    if prefix == 2 && !matches!(code[0], 'b' | 'c') {
        return None;
    }
    let hashes = code[prefix..].iter().take_while(|&&c| c == '#').count();
    (code.get(prefix + hashes) == Some(&'"')).then_some(hashes)
}

/// Reads the `pub use module::…;` lines of lib.rs.
fn exports(root: &Source) -> Exports {
    let uses = (0..root.tokens.len()).filter(|&at| root.text(at) == "use");
    let paths = uses.flat_map(|at| root.paths(at + 1).0);
    paths.filter_map(|path| Some(((*path.last()?).to_owned(), (*path.first()?).to_owned()))).collect()
}

/// `python → engine, store → pipeline, models → nn → kernels`.
fn wrong_imports(source: &Source, exports: &Exports) -> Vec<String> {
    let module = source.module();
    if module == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
        return vec![format!("src/{}: {module} is missing in MAY_USE", source.path)];
    };
    let mut complaints = Vec::new();
    for (at, name) in source.names_at_root() {
        let used = exports.get(name).map_or(name, String::as_str);
        if used != module && !allowed.contains(&used) {
            complaints.push(source.complaint(at, format_args!("{module} uses {used}; it may use {allowed:?}")));
        }
    }
    complaints
}

fn wrong_candle(source: &Source) -> Vec<String> {
    if MAY_USE_CANDLE.contains(&source.module()) || source.is_test() {
        return Vec::new();
    }
    let candle = (0..source.end_of_code()).filter(|&at| source.text(at).starts_with("candle"));
    candle.map(|at| source.complaint(at, format_args!("candle outside {MAY_USE_CANDLE:?}"))).collect()
}

fn wrong_python(source: &Source) -> Vec<String> {
    let names = (0..source.tokens.len()).filter(|&at| matches!(source.text(at), "pyo3" | "numpy"));
    let wrong = names.filter(|_| source.module() != "python");
    wrong.map(|at| source.complaint(at, format_args!("{} outside src/python/", source.text(at)))).collect()
}

fn wrong_unsafe(source: &Source) -> Vec<String> {
    let allowed = UNSAFE_CODE.iter().any(|place| source.path.starts_with(place));
    let mut complaints = Vec::new();
    for at in (0..source.tokens.len()).filter(|&at| source.text(at) == "unsafe") {
        if !allowed {
            complaints.push(source.complaint(at, format_args!("unsafe outside {UNSAFE_CODE:?}")));
        } else if matches!(source.text(at + 1), "{" | "impl") {
            let statement = (0..at).rfind(|&i| matches!(source.text(i), ";" | "{" | "}")).map_or(0, |i| i + 1);
            if !source.tokens[statement..=at].iter().any(|token| token.safety) {
                complaints.push(source.complaint(at, "unsafe without a SAFETY: comment above its statement"));
            }
        }
    }
    complaints
}

/// Every file of `src/`.
fn sources() -> Vec<Source> {
    fn collect(folder: &Path, root: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                collect(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("a path below src").to_string_lossy().replace('\\', "/");
                found.push(Source::new(&name, &fs::read_to_string(&path).expect("a readable source")));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.iter().any(|source| source.path == "lib.rs"), "no sources in {}", root.display());
    found
}

impl Source {
    /// The names that lead from the crate's root to the module that this file is.
    fn module_path(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs");
        path.split('/').filter(|part| !matches!(*part, "mod" | "lib")).collect()
    }

    /// Whether the file is of unit tests alone.
    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.ends_with("testing.rs")
    }

    /// Where the unit tests begin, which may use what they like.
    fn end_of_code(&self) -> usize {
        let is_test = |at: usize| {
            let texts: Vec<_> = (at..at + 6).map(|i| self.text(i)).collect();
            texts == ["cfg", "(", "test", ")", "]", "mod"]
        };
        (0..self.tokens.len()).find(|&at| is_test(at)).unwrap_or(self.tokens.len())
    }

    /// Paths from the crate's root that this file names outside of its unit tests, and whether it only hands the name on.
    fn names_from_root(&self) -> Vec<(Vec<&str>, bool)> {
        let own = self.module_path();
        let end = self.end_of_code();
        let mut names = Vec::new();
        let mut at = 0;
        while at < end {
            if !matches!(self.text(at), "crate" | "super" | "self") || self.text(at + 1) != "::" {
                at += 1;
                continue;
            }
            let is_reexport = at >= 2 && self.text(at - 1) == "use" && matches!(self.text(at - 2), "pub" | ")");
            let (paths, next) = self.paths(at);
            for path in paths {
                let mut from = if path[0] == "crate" { Vec::new() } else { own.clone() };
                for part in path {
                    match part {
                        "crate" | "self" => {}
                        "super" => _ = from.pop(),
                        name => from.push(name),
                    }
                }
                names.push((from, is_reexport));
            }
            at = next;
        }
        names
    }

    /// What a `mod.rs` hands on from its own files: the name, and its path from the crate's root.
    fn handed_on(&self) -> HashMap<String, Vec<String>> {
        let own = self.module_path();
        let mut names = HashMap::new();
        for at in (1..self.end_of_code()).filter(|&at| self.text(at) == "use") {
            for mut path in self.paths(at + 1).0 {
                let from_root = path.first() == Some(&"crate");
                path.retain(|part| !matches!(*part, "crate" | "self"));
                let Some(name) = path.last().map(|&name| name.to_owned()) else { continue };
                let before = if from_root { &[][..] } else { &own[..] };
                names.insert(name, before.iter().chain(&path).map(|&part| part.to_owned()).collect());
            }
        }
        names
    }
}

/// For each file, the files that it uses outside of its unit tests. Names that a `mod.rs` hands on count as their own file's.
fn uses_between_files(sources: &[Source]) -> HashMap<&str, Vec<&str>> {
    let files: HashMap<Vec<&str>, &Source> = sources.iter().map(|source| (source.module_path(), source)).collect();
    let file_of = |path: &[&str]| {
        let mut path: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
        for _ in 0..4 {
            let parts: Vec<&str> = path.iter().map(String::as_str).collect();
            let depth = (1..=parts.len()).rev().find(|&depth| files.contains_key(&parts[..depth]))?;
            let file = files[&parts[..depth]];
            match parts.get(depth).and_then(|name| file.handed_on().remove(*name)) {
                Some(target) if file.path.ends_with("mod.rs") && target != path => path = target,
                _ => return Some(file.path.as_str()),
            }
        }
        None
    };
    let uses = |source: &'_ Source| -> Vec<&str> {
        let names = source.names_from_root().into_iter().filter(|(_, is_reexport)| !is_reexport);
        let mut used: Vec<&str> = names.filter_map(|(path, _)| file_of(&path)).collect();
        used.sort_unstable();
        used.dedup();
        used.retain(|file| *file != source.path);
        used
    };
    sources.iter().filter(|source| !source.is_test()).map(|source| (source.path.as_str(), uses(source))).collect()
}

/// The files of each circle, in alphabetical order.
fn circles<'a>(uses: &HashMap<&'a str, Vec<&'a str>>) -> Vec<Vec<&'a str>> {
    let reached = |start: &'a str| {
        let mut reached = std::collections::BTreeSet::new();
        let mut open = vec![start];
        while let Some(file) = open.pop() {
            for &used in uses.get(file).into_iter().flatten() {
                if reached.insert(used) {
                    open.push(used);
                }
            }
        }
        reached
    };
    let all: HashMap<&str, _> = uses.keys().map(|&file| (file, reached(file))).collect();
    let mut circles: Vec<Vec<&str>> = Vec::new();
    for (&file, of_file) in &all {
        if of_file.contains(file) {
            circles.push(of_file.iter().copied().filter(|other| all[other].contains(file)).collect());
        }
    }
    circles.sort_unstable();
    circles.dedup();
    circles
}

#[test]
fn files_do_not_use_each_other_in_a_circle() {
    let sources = sources();
    let uses = uses_between_files(&sources);
    assert!(uses["engine/queue.rs"].contains(&"engine/queued_call.rs"), "{:?}", uses["engine/queue.rs"]);
    let circles = circles(&uses);
    for (knot, reason) in KNOTS {
        assert!(circles.iter().any(|circle| circle == knot), "no knot any more: {knot:?} ({reason})");
    }
    let unknown: Vec<_> = circles.iter().filter(|circle| !KNOTS.iter().any(|(knot, _)| knot == circle)).collect();
    assert!(unknown.is_empty(), "files that use each other: {unknown:#?}");
}

#[test]
fn circles_are_found() {
    let source = |path, code| Source::new(path, code);
    let sources = [
        source("lib.rs", "mod a; mod b;"),
        source("a/mod.rs", "mod x; mod y; pub use x::X; pub use y::Y;"),
        source("a/x.rs", "use crate::a::Y; pub struct X;"),
        source("a/y.rs", "use super::x::X; pub struct Y;"),
        source("b.rs", "use crate::a::{X, Y}; #[cfg(test)] mod tests { use crate::b::c; }"),
    ];
    assert_eq!(circles(&uses_between_files(&sources)), [["a/x.rs", "a/y.rs"]]);
}

#[test]
fn imports_point_one_way() {
    let sources = sources();
    let exports = sources.iter().find(|source| source.path == "lib.rs").map(exports).expect("lib.rs");
    let complaints: Vec<_> = sources.iter().flat_map(|source| wrong_imports(source, &exports)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn candle_stays_below_networks() {
    let complaints: Vec<_> = sources().iter().flat_map(wrong_candle).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn pyo3_and_numpy_stay_in_python() {
    let complaints: Vec<_> = sources().iter().flat_map(wrong_python).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn unsafe_code_stays_in_its_files() {
    let complaints: Vec<_> = sources().iter().flat_map(wrong_unsafe).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_table_has_no_circle() {
    for (row, (module, allowed)) in MAY_USE.iter().enumerate() {
        for used in *allowed {
            assert!(
                MAY_USE[..row].iter().any(|(above, _)| above == used),
                "{module} names {used}, which is not above it"
            );
        }
    }
}

/// The modules outside itself that code in a file reaches, in order.
fn reached(path: &str, code: &str) -> Vec<String> {
    Source::new(path, code).names_at_root().into_iter().map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn paths_are_followed_to_the_root() {
    assert_eq!(
        reached("nn/linear.rs", "use crate::{text, hub::{Weights, folder as f}, Error};"),
        ["text", "hub", "hub", "Error"]
    );
    assert_eq!(
        reached("nn/linear.rs", "fn f() -> u8 { crate::engine::size::<u8>(1) + $crate::store::N }"),
        ["engine", "store"]
    );
    assert_eq!(reached("nn/linear.rs", "use super::super::engine::Embedder; use super::Mlp;"), ["engine"]);
    assert_eq!(reached("nn/linear.rs", "use super::{Mlp, super::{engine, text::Batch}};"), ["engine", "text"]);
    assert_eq!(
        reached("nn/mod.rs", "use super::engine; use self::super::store; use self::linear::Linear;"),
        ["engine", "store"]
    );
    assert_eq!(
        reached("nn/mod.rs", "mod tests { use super::*; mod deep { use super::super::super::text; } }"),
        ["text"]
    );
    assert_eq!(
        reached("device.rs", "use super::*; pub(crate) fn f() {} pub(in crate::device) fn g() {}"),
        ["*", "device"]
    );
}

#[test]
fn comments_and_literals_are_not_code() {
    let code = r####"
        // crate::engine
        /* crate::engine /* crate::engine */ crate::engine */
        const A: &str = "crate::engine \" crate::engine";
        const B: &str = r#"crate::engine " crate::engine"#;
        const C: &[u8] = br"crate::engine\";
        const D: (char, char, u8) = ('"', '\'', b'"');
        fn f<'a>(x: &'a str) { 'outer: loop { crate::store::f(x, 1e-5, '"') } }
    "####;
    assert_eq!(reached("nn/mod.rs", code), ["store"]);
}

#[test]
fn imports_against_the_direction_are_found() {
    let exports = exports(&Source::new("lib.rs", "pub mod error; pub use error::{Error, Result};"));
    let wrong = |path, code| wrong_imports(&Source::new(path, code), &exports).len();
    assert_eq!(wrong("nn/linear.rs", "use crate::{Error, Result, kernels::Matrix};"), 0);
    assert_eq!(wrong("nn/linear.rs", "use crate::models::Bert;"), 1);
    assert_eq!(wrong("kernels/tile.rs", "use crate::nn::Body;"), 1);
    assert_eq!(wrong("pipeline/mod.rs", "fn f() { crate::python::f() }"), 1);
    assert_eq!(wrong("pipeline/mod.rs", "use crate::*;"), 1);
    assert_eq!(wrong("unknown/mod.rs", ""), 1);
}

#[test]
fn tensors_are_found() {
    let wrong = |path, code| wrong_candle(&Source::new(path, code)).len();
    assert_eq!(wrong("nn/linear.rs", "use candle_core::Tensor;"), 0);
    assert_eq!(wrong("models/post_norm.rs", "use candle_core::Tensor;\nfn f() -> candle_core::Result<()> {}"), 2);
    assert_eq!(wrong("kernels/tile.rs", "#[cfg(test)] mod tests { use candle_core::Tensor; }"), 0);
    assert_eq!(wrong("pipeline/testing.rs", "use candle_core::Tensor;"), 0);
}

#[test]
fn python_crates_are_found() {
    let wrong = |path, code| wrong_python(&Source::new(path, code)).len();
    assert_eq!(wrong("python/embedder.rs", "use pyo3::prelude::*;"), 0);
    assert_eq!(wrong("lib.rs", "#[cfg(feature = \"python\")] mod python;"), 0);
    assert_eq!(
        wrong("engine/embedder.rs", "#[cfg_attr(feature = \"python\", pyo3::pyclass)] struct E; use numpy as np;"),
        2
    );
}

#[test]
fn unsafe_code_is_found() {
    let wrong = |path, code| wrong_unsafe(&Source::new(path, code)).len();
    assert_eq!(wrong("text/mod.rs", "// SAFETY: none\nfn f() { unsafe { g() } }"), 1);
    assert_eq!(wrong("hub/mod.rs", "#[unsafe(no_mangle)] fn f() {}"), 1);
    let mmap = |code| wrong("weights/mmap.rs", code);
    assert_eq!(mmap("// SAFETY: as the caller promises\nlet x =\n    unsafe { g() };"), 0);
    assert_eq!(mmap("// SAFETY: no thread writes\nunsafe impl Sync for X {}\nunsafe fn f();"), 0);
    assert_eq!(mmap("// SAFETY: for f only\nfn f() { g() }\nunsafe impl Sync for X {}"), 1);
    assert_eq!(mmap("match x {\n// SAFETY: a\n1 => unsafe { g() }\n2 => unsafe { h() }\n}"), 1);
    assert_eq!(mmap("let unsafe_op = \"unsafe { }\"; // an unsafe { } block"), 0);
}
