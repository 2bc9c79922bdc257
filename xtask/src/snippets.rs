//! The examples in `docs/`, compiled: each block of TypeScript becomes a file that `tsc --strict` checks against the
//! types that ship.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// What every example may use without saying where it comes from, as a reader would expect.
const PROLOGUE: &str = "\
import type { Call, DialStrategy } from 'wasm-softphone';
declare global {
  const phone: DialStrategy;
  const call: Call;
  const other: Call;
  function show(...what: unknown[]): void;
}
";

/// Writes the examples with a project for `tsc`, and returns that.
pub(crate) fn write(docs: &Path) -> Result<PathBuf> {
    let dir = workspace::scratch()?.join("snippets");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(&dir)?;
    let mut count = 0;
    for entry in fs::read_dir(docs).with_context(|| format!("cannot read {}", docs.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (number, block) in blocks(&text).into_iter().enumerate() {
            // A module each: examples of one page may use the same names.
            fs::write(dir.join(format!("{name}-{}.ts", number + 1)), format!("{block}\nexport {{}};\n"))?;
            count += 1;
        }
    }
    ensure!(count > 0, "no examples were found in {}", docs.display());
    fs::write(dir.join("prologue.d.ts"), PROLOGUE)?;
    let pkg = workspace::root().join("pkg");
    let project = serde_json::json!({
        "extends": workspace::root().join("tests").join("types").join("tsconfig.json"),
        "compilerOptions": {
            "paths": {
                "wasm-softphone": [pkg.join("index.d.ts")],
                "wasm-softphone/*": [pkg.join("*.d.ts")],
            },
        },
        "include": ["*.ts"],
    });
    let path = dir.join("tsconfig.json");
    fs::write(&path, project.to_string())?;
    Ok(path)
}

/// The blocks of TypeScript in a page.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in page.lines() {
        match &mut block {
            None if line == "```ts" => block = Some(String::new()),
            None => {}
            Some(_) if line == "```" => blocks.extend(block.take()),
            Some(text) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::blocks;

    #[test]
    fn only_typescript_is_taken() {
        let page = "# A\n```ts\nlet a = 1;\n```\ntext\n```sh\nls\n```\n```ts\nlet b;\nlet c;\n```\n";
        assert_eq!(blocks(page), ["let a = 1;\n", "let b;\nlet c;\n"]);
    }
}
