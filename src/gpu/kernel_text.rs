//! The text of kernels: WGSL has no generics, so a kernel's file is a template.
//!
//! ```text
//! //#if NAME  ...  //#else  ...  //#end        lines that stand where NAME is set, or where it is not
//! //#for i N  ...  //#end                      lines once for each number below N, a number or a name, with $i replaced
//! $NAME                                        the value of NAME
//! ```
//!
//! Loops are written out by text where they index variables of an invocation: drivers keep an array that is indexed by a
//! variable in memory, and not in registers.

use std::fmt::Display;

use crate::gpu::device_rows::Number;

/// A kernel's file, and what its names stand for.
pub(crate) struct KernelText {
    text: &'static str,
    prelude: String,
    names: Vec<(&'static str, String)>,
}

impl KernelText {
    /// A kernel over states of this type: `Num`, and `Num4`, four of them.
    pub(crate) fn new(text: &'static str, number: Number) -> Self {
        let prelude = match number {
            Number::F32 => "alias Num = f32;\nalias Num4 = vec4<f32>;\n",
            Number::F16 => "enable f16;\nalias Num = f16;\nalias Num4 = vec4<f16>;\n",
        };
        Self { text, prelude: prelude.to_owned(), names: Vec::new() }
    }

    /// Text that stands before the kernel's.
    pub(crate) fn prelude(mut self, text: &str) -> Self {
        self.prelude.push_str(text);
        self
    }

    pub(crate) fn set(mut self, name: &'static str, value: impl Display) -> Self {
        self.names.push((name, value.to_string()));
        // Longer ones first: one may begin with another.
        self.names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        self
    }

    /// Sets the name where `condition`.
    pub(crate) fn flag(self, name: &'static str, condition: bool) -> Self {
        if condition { self.set(name, 1) } else { self }
    }

    pub(crate) fn render(&self) -> String {
        let lines: Vec<&str> = self.text.lines().filter(|line| !line.trim_start().starts_with("//!")).collect();
        let mut out = self.prelude.clone();
        self.block(&lines, &mut Vec::new(), &mut out);
        out
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.names.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn block(&self, lines: &[&str], counters: &mut Vec<(String, usize)>, out: &mut String) {
        let mut at = 0;
        while at < lines.len() {
            let words: Vec<&str> = lines[at].split_whitespace().collect();
            match words[..] {
                ["//#if", name] => {
                    let (other, end) = ends(lines, at);
                    let (first, second) =
                        (&lines[at + 1..other.unwrap_or(end)], other.map(|other| &lines[other + 1..end]));
                    let chosen = if self.value(name).is_some() { Some(first) } else { second };
                    self.block(chosen.unwrap_or_default(), counters, out);
                    at = end;
                }
                ["//#for", counter, count] => {
                    let (_, end) = ends(lines, at);
                    let count = self.value(count).unwrap_or(count).parse().expect("a count of lines");
                    for i in 0..count {
                        counters.push((format!("${counter}"), i));
                        self.block(&lines[at + 1..end], counters, out);
                        counters.pop();
                    }
                    at = end;
                }
                _ => {
                    let mut line = lines[at].to_owned();
                    for (name, value) in &self.names {
                        line = line.replace(&format!("${name}"), value);
                    }
                    for (name, i) in counters.iter() {
                        line = line.replace(name, &i.to_string());
                    }
                    out.push_str(&line);
                    out.push('\n');
                }
            }
            at += 1;
        }
    }
}

/// Lines of the `//#else`, where there is one, and the `//#end` of what begins at `start`.
fn ends(lines: &[&str], start: usize) -> (Option<usize>, usize) {
    let (mut depth, mut other) = (0, None);
    for (at, line) in lines.iter().enumerate().skip(start) {
        match line.split_whitespace().next() {
            Some("//#if" | "//#for") => depth += 1,
            Some("//#else") if depth == 1 => other = Some(at),
            Some("//#end") if depth == 1 => return (other, at),
            Some("//#end") => depth -= 1,
            _ => (),
        }
    }
    panic!("what begins in line {} of a kernel has no end", start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_repeated_and_filled_in() {
        let text = "//! Head.\n//#if A\na $N\n//#else\nb\n//#end\n//#for i N\n//#for j 2\n  x$i_$j\n//#end\n//#end\n//#if B\nc\n//#end";
        let template = KernelText::new(text, Number::F16).set("N", 2).flag("A", true).flag("B", false);
        let rendered = template.render();
        let lines: Vec<&str> = rendered.lines().skip(3).collect();
        assert_eq!(lines, ["a 2", "  x0_0", "  x0_1", "  x1_0", "  x1_1"]);
        assert!(KernelText::new(text, Number::F32).set("N", 1).render().contains("b\n"));
    }
}
