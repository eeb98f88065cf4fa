//! `cargo xtask bench --build-cost`: what it takes to build the hello server: time, and crates.

use std::collections::BTreeSet;
use std::time::Instant;

use super::table;
use crate::exec::{self, Result};

const STACKS: [&str; 2] = ["gannet", "tonic"];

/// Builds each from nothing, and prints a table.
pub(super) fn run() -> Result {
    let mut lines = vec![vec![String::new(), "release build, s".into(), "crates".into()]];
    for stack in STACKS {
        let folder = exec::root().join("bench/hello").join(stack);
        let target = exec::root().join("target/bench-hello").join(stack);
        if !folder.is_dir() {
            return Err(format!("there is no {}", folder.display()));
        }
        let command = |words: &[&str]| {
            let mut cargo = exec::cargo(words);
            cargo.current_dir(&folder);
            cargo
        };
        // What has to be downloaded is no part of the build.
        exec::output(&mut command(&["fetch", "--locked"]))?;
        let tree = ["tree", "--locked", "--edges", "normal,build", "--prefix", "none"];
        let crates = crates_in(&exec::output(&mut command(&tree))?);
        if target.exists() {
            std::fs::remove_dir_all(&target)
                .map_err(|error| format!("{}: {error}", target.display()))?;
        }
        let mut build = command(&["build", "--release", "--locked", "--target-dir"]);
        let begun = Instant::now();
        exec::output(build.arg(&target))?;
        let seconds = begun.elapsed().as_secs_f64();
        lines.push(vec![stack.to_owned(), format!("{seconds:.1}"), crates.to_string()]);
    }
    println!("{}", table::aligned(&lines));
    Ok(())
}

/// Crates in the output of `cargo tree --prefix none`, each once; the first is the program itself.
fn crates_in(tree: &str) -> usize {
    let name = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    tree.lines().filter_map(name).collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_counts_once() {
        let tree = "hello v0.0.0 (/x)\nbytes v1.12.1\ntokio v1.0.0\nbytes v1.12.1 (*)\n\
                    syn v1.0.0 (proc-macro)\nsyn v2.0.0\n\n";
        assert_eq!(crates_in(tree), 5);
        assert_eq!(crates_in(""), 0);
    }
}
