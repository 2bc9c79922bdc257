//! Short names for what the module imports and exports. wasm-bindgen's are long and end in a hash, which does not
//! compress, and they stand in the module and in the glue; nothing else knows them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use wasmparser::{Parser, Payload};

/// How the glue names itself to the module.
const MODULE: &str = "\"./wasm_softphone_bg.js\": ";
/// How the glue names what the module exports.
const EXPORTS: &str = "wasm.";
/// Length of a module's magic number and version.
const PREAMBLE: usize = 8;
/// Ids of the import and the export section (WebAssembly core specification, sections 5.5.5 and 5.5.10).
const IMPORT_SECTION: u8 = 2;
const EXPORT_SECTION: u8 = 7;

/// The module and the glue with short names.
pub(crate) fn shorten(module: &[u8], glue: &str) -> Result<(Vec<u8>, String)> {
    let mut glue = replace_one(glue, MODULE, "a: ")?;
    let mut out = module.get(..PREAMBLE).context("no preamble")?.to_vec();
    let mut imported = false;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else { continue };
        let content = module.get(usize::try_from(range.start)?..usize::try_from(range.end)?);
        let mut content = content.context("a section goes past the end")?.to_vec();
        match payload {
            Payload::ImportSection(imports) => {
                imported = true;
                let mut entries = Vec::new();
                for (at, import) in imports.into_imports_with_offsets().enumerate() {
                    let (start, import) = import?;
                    let name = short(at);
                    let old = format!("        {}: ", import.name);
                    glue = replace_one(&glue, &old, &format!("        {name}: "))?;
                    entries.push(Entry {
                        start,
                        after: after(module, import.name),
                        names: vec!["a".into(), name],
                    });
                }
                content = section(module, &entries, range.end)?;
            }
            Payload::ExportSection(exports) => {
                let mut entries = Vec::new();
                let mut names = BTreeMap::new();
                for (at, export) in exports.into_iter_with_offsets().enumerate() {
                    let (start, export) = export?;
                    names.insert(export.name, short(at));
                    entries.push(Entry { start, after: after(module, export.name), names: vec![short(at)] });
                }
                glue = rename_exports(&glue, &names)?;
                content = section(module, &entries, range.end)?;
            }
            _ => ensure!(![IMPORT_SECTION, EXPORT_SECTION].contains(&id), "a section of another kind"),
        }
        out.push(id);
        leb128(&mut out, u32::try_from(content.len())?);
        out.extend(content);
    }
    ensure!(imported, "the module imports nothing");
    Ok((out, glue))
}

/// An import or export.
struct Entry {
    /// Where it starts in the module.
    start: u64,
    /// Where its old name ends.
    after: usize,
    /// Its new names.
    names: Vec<String>,
}

/// The content of an import or export section: for each entry its new names, then what followed the old ones.
fn section(module: &[u8], entries: &[Entry], end: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    leb128(&mut content, u32::try_from(entries.len())?);
    let ends = entries.iter().skip(1).map(|entry| entry.start).chain([end]);
    for (entry, end) in entries.iter().zip(ends) {
        for text in &entry.names {
            leb128(&mut content, u32::try_from(text.len())?);
            content.extend(text.as_bytes());
        }
        content.extend(module.get(entry.after..usize::try_from(end)?).context("an entry has no kind")?);
    }
    Ok(content)
}

/// Where a part of the whole ends.
fn after(whole: &[u8], part: &str) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr() + part.len()
}

/// Every `wasm.name` of the glue with its short name.
fn rename_exports(glue: &str, names: &BTreeMap<&str, String>) -> Result<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '$';
    let mut out = String::with_capacity(glue.len());
    let mut rest = glue;
    while let Some(at) = rest.find(EXPORTS) {
        let (before, after) = rest.split_at(at + EXPORTS.len());
        out.push_str(before);
        rest = after;
        let word = before.strip_suffix(EXPORTS).is_none_or(|before| !before.ends_with(is_part));
        let name = after.split(|letter| !is_part(letter)).next().unwrap_or_default();
        if word && !name.is_empty() {
            let short =
                names.get(name).ok_or_else(|| anyhow!("the glue uses {name:?}, which is not exported"))?;
            out.push_str(short);
            rest = after.get(name.len()..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Replaces the one place where `from` stands.
fn replace_one(text: &str, from: &str, to: &str) -> Result<String> {
    ensure!(text.matches(from).count() == 1, "{from:?} is not exactly once in the glue");
    Ok(text.replacen(from, to, 1))
}

/// a, b, …, z, ba, bb, …
fn short(mut at: usize) -> String {
    let mut name = Vec::new();
    loop {
        name.insert(0, char::from(b'a' + u8::try_from(at % 26).unwrap_or_default()));
        at /= 26;
        if at == 0 {
            return name.into_iter().collect();
        }
    }
}

/// Unsigned LEB128 (WebAssembly core specification, section 5.2.2).
fn leb128(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLUE: &str = "const import0 = {\n        __wbg_now_0123456789abcdef: function() {},\n        \
                        __wbg_x_fedcba9876543210: function() {},\n};\nreturn { \"./wasm_softphone_bg.js\": import0 };\n\
                        wasm.go_away(); fetch('soft_wasm.go');";

    /// A module of two imports of type () -> (), and an export of the first.
    fn module() -> Vec<u8> {
        let mut section = vec![2];
        for name in ["__wbg_now_0123456789abcdef", "__wbg_x_fedcba9876543210"] {
            for text in ["./wasm_softphone_bg.js", name] {
                leb128(&mut section, text.len().try_into().unwrap());
                section.extend(text.as_bytes());
            }
            section.extend([0, 0]);
        }
        let mut bytes = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0".to_vec();
        bytes.push(IMPORT_SECTION);
        leb128(&mut bytes, section.len().try_into().unwrap());
        bytes.extend(section);
        bytes.extend([EXPORT_SECTION, 11, 1, 7]);
        bytes.extend(b"go_away\0\0");
        bytes.extend(b"\0\x05\x04name");
        bytes
    }

    fn imports(module: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            if let Payload::ImportSection(imports) = payload.unwrap() {
                for import in imports.into_imports() {
                    let import = import.unwrap();
                    found.push((import.module.to_owned(), import.name.to_owned()));
                }
            }
        }
        found
    }

    #[test]
    fn module_and_glue_agree_on_the_short_names() {
        let (short, glue) = shorten(&module(), GLUE).unwrap();
        let expected = [("a", "a"), ("a", "b")].map(|(module, name)| (module.to_owned(), name.to_owned()));
        assert_eq!(imports(&short), expected);
        assert!(glue.contains("        a: function() {},\n        b: function() {},"));
        assert!(glue.contains("return { a: import0 };"));
        let end = b"\x07\x05\x01\x01a\0\0\0\x05\x04name";
        assert!(short.ends_with(end), "the sections after it are as they were");
        assert!(glue.ends_with("wasm.a(); fetch('soft_wasm.go');"), "{glue}");
    }

    #[test]
    fn a_glue_that_does_not_fit_is_refused() {
        assert!(shorten(&module(), &GLUE.replace("now", "then")).is_err());
        assert!(shorten(&module(), &GLUE.replace("go_away", "go_on")).is_err());
        assert!(shorten(&module(), "").is_err());
    }

    #[test]
    fn short_names_differ() {
        let names: std::collections::BTreeSet<String> = (0..1000).map(short).collect();
        assert_eq!(names.len(), 1000);
        assert_eq!((short(0), short(25), short(26)), ("a".into(), "z".into(), "ba".into()));
    }
}
