//! Short names for what the module imports. wasm-bindgen's are long and end in a hash, which does not compress, and
//! they stand in the module and in the glue; nothing else knows them.

use anyhow::{Context, Result, bail, ensure};
use wasmparser::{Parser, Payload};

/// How the glue names itself to the module.
const MODULE: &str = "\"./wasm_softphone_bg.js\": ";
/// Length of a module's magic number and version.
const PREAMBLE: usize = 8;
/// Id of the import section (WebAssembly core specification, section 5.5.5).
const IMPORT_SECTION: u8 = 2;

/// The module and the glue with short names.
pub(crate) fn shorten(module: &[u8], glue: &str) -> Result<(Vec<u8>, String)> {
    let mut glue = replace_one(glue, MODULE, "a: ")?;
    let mut before = PREAMBLE;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else { continue };
        let section_end = usize::try_from(range.end)?;
        let Payload::ImportSection(imports) = payload else {
            ensure!(id != IMPORT_SECTION, "an import section of another kind");
            before = section_end;
            continue;
        };
        let mut section = Vec::new();
        leb128(&mut section, imports.count());
        let imports: Vec<_> = imports.into_imports_with_offsets().collect::<wasmparser::Result<_>>()?;
        let ends = imports.iter().skip(1).map(|(start, _)| *start).chain([range.end]);
        for (at, ((_, import), end)) in imports.iter().zip(ends).enumerate() {
            let end = usize::try_from(end)?;
            let name = short(at);
            glue = replace_one(&glue, &format!("        {}: ", import.name), &format!("        {name}: "))?;
            for text in ["a", &name] {
                leb128(&mut section, u32::try_from(text.len())?);
                section.extend(text.as_bytes());
            }
            let kind = offset(module, import.name) + import.name.len();
            section.extend(module.get(kind..end).context("an import of the module has no kind")?);
        }
        let mut out = module.get(..before).context("no preamble")?.to_vec();
        out.push(IMPORT_SECTION);
        leb128(&mut out, u32::try_from(section.len())?);
        out.extend(section);
        out.extend(module.get(section_end..).context("the import section goes past the end")?);
        return Ok((out, glue));
    }
    bail!("the module imports nothing")
}

/// Where a part stands in the whole.
fn offset(whole: &[u8], part: &str) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
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
                        __wbg_x_fedcba9876543210: function() {},\n};\nreturn { \"./wasm_softphone_bg.js\": import0 };";

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
        bytes.extend(b"\x07\x05\x01\x01e\0\0");
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
        assert!(short.ends_with(b"\x07\x05\x01\x01e\0\0"), "the sections after it are as they were");
    }

    #[test]
    fn a_glue_that_does_not_fit_is_refused() {
        assert!(shorten(&module(), &GLUE.replace("now", "then")).is_err());
        assert!(shorten(&module(), "").is_err());
    }

    #[test]
    fn short_names_differ() {
        let names: std::collections::BTreeSet<String> = (0..1000).map(short).collect();
        assert_eq!(names.len(), 1000);
        assert_eq!((short(0), short(25), short(26)), ("a".into(), "z".into(), "ba".into()));
    }
}
