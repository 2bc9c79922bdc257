//! `cargo xtask size`: what a visitor downloads, against the budget, and which crate it comes from.

mod features;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use wasmparser::{KnownCustom, Name, Parser, Payload};

use crate::{package, workspace};

/// What module, glue and entry may weigh together with gzip -9, in bytes.
///
/// The interface that web developers expect took 5.3 kB, 4.7 with brotli, of which 2.5 in the entry (phones before the module, listeners, snapshots, the time after
/// `free()`) and 2.2 in the module (names and extensions, options refused by name with a guess, errors of one class).
const BUDGET: usize = 189_300;

/// The same for other phones, with brotli and gzip, in bytes: a small application that imports the client, minified by esbuild.
/// Measured once.
const OTHERS: [(&str, usize, usize); 2] =
    [("JsSIP 3.13.8", 46_963, 55_745), ("SIP.js 0.21.2", 43_522, 52_462)];

/// One file in three weights, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weight {
    raw: usize,
    gzip: usize,
    brotli: usize,
}

impl Weight {
    fn of(bytes: &[u8]) -> Result<Self> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(bytes)?;
        let mut brotli = Vec::new();
        let params = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
        brotli::BrotliCompress(&mut &*bytes, &mut brotli, &params)?;
        Ok(Self { raw: bytes.len(), gzip: gzip.finish()?.len(), brotli: brotli.len() })
    }
}

impl std::ops::AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        self.raw += other.raw;
        self.gzip += other.gzip;
        self.brotli += other.brotli;
    }
}

/// Builds the package, weighs it, prints the report and writes it to `target/size.md`. True within the budget.
pub(crate) fn run() -> Result<bool> {
    package::build()?;
    let (mut total, mut module) = (Weight::default(), Weight::default());
    let mut report =
        String::from("# Download size\n\n| file | brotli 11 | gzip -9 | raw |\n|---|---:|---:|---:|\n");
    for file in parts() {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let weight = Weight::of(&bytes)?;
        if file.ends_with(package::MODULE) {
            module = weight;
        }
        row(&mut report, &file.file_name().unwrap_or_default().to_string_lossy(), weight)?;
        total += weight;
    }
    row(&mut report, "**total**", total)?;

    let within = total.gzip <= BUDGET;
    let verdict = if within { "within" } else { "OVER" };
    writeln!(report, "\n{verdict} the budget of {BUDGET} bytes with gzip ({} used).", total.gzip)?;
    for (name, brotli, gzip) in OTHERS {
        writeln!(report, "{name}: {brotli} bytes with brotli, {gzip} with gzip.")?;
    }
    by_origin(&mut report, &package::named_module()?, module)?;

    print!("{report}");
    let path = workspace::target().join("size.md");
    fs::write(&path, report).with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nwritten to {}", path.display());
    Ok(within)
}

/// What a browser loads.
fn parts() -> [PathBuf; 3] {
    [package::MODULE, package::GLUE, package::ENTRY].map(|name| package::dir().join(name))
}

fn row(report: &mut String, name: &str, weight: Weight) -> Result<()> {
    let Weight { raw, gzip, brotli } = weight;
    Ok(writeln!(report, "| {name} | {brotli} | {gzip} | {raw} |")?)
}

/// Where the bytes of the module of this weight come from, by one that has names.
fn by_origin(report: &mut String, named: &Path, weight: Weight) -> Result<()> {
    let bytes = fs::read(named).with_context(|| format!("cannot read {}", named.display()))?;
    let sizes = Sizes::of(&bytes)?;
    writeln!(
        report,
        "\n## Our own code by feature\n\nWith brotli by the ratio of the whole module. Without what a feature has others do \
         for it: code of the crates, lines in the middle of other functions.\n\n\
         | feature | about, with brotli | raw bytes |\n|---|---:|---:|"
    )?;
    for (name, size) in descending(&sizes.features) {
        let brotli = size.saturating_mul(weight.brotli).checked_div(weight.raw).unwrap_or_default();
        writeln!(report, "| {name} | {brotli} | {size} |")?;
    }
    writeln!(report, "\n## Code by crate, raw bytes\n\n| crate | bytes |\n|---|---:|")?;
    for (name, size) in descending(&sizes.crates) {
        writeln!(report, "| {name} | {size} |")?;
    }
    writeln!(report, "| (data, of all crates) | {} |", sizes.data)?;
    writeln!(report, "\n## Our own code by module, raw bytes\n\n| module | bytes |\n|---|---:|")?;
    for (name, size) in descending(&sizes.modules) {
        writeln!(report, "| {name} | {size} |")?;
    }
    writeln!(report, "\n## Largest functions, raw bytes\n\n| function | bytes |\n|---|---:|")?;
    for (name, size) in descending(&sizes.functions).into_iter().take(40) {
        writeln!(report, "| `{}` | {size} |", name.replace('|', "\\|"))?;
    }
    Ok(())
}

fn descending(sizes: &BTreeMap<String, usize>) -> Vec<(&String, &usize)> {
    let mut sorted: Vec<_> = sizes.iter().collect();
    sorted.sort_by(|one, other| other.1.cmp(one.1));
    sorted
}

/// Where the bytes of a module with a name section come from. Generic code counts for the crate that wrote it,
/// whoever asked for it; inlined code for the function that it went into.
#[derive(Debug, Default)]
struct Sizes {
    crates: BTreeMap<String, usize>,
    modules: BTreeMap<String, usize>,
    features: BTreeMap<String, usize>,
    functions: BTreeMap<String, usize>,
    data: usize,
}

impl Sizes {
    fn of(module: &[u8]) -> Result<Self> {
        let mut imported = 0;
        let mut bodies = Vec::new();
        let mut names = BTreeMap::new();
        let mut sizes = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        if matches!(
                            import?.ty,
                            wasmparser::TypeRef::Func(_) | wasmparser::TypeRef::FuncExact(_)
                        ) {
                            imported += 1;
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => bodies.push(length(body.range())?),
                Payload::DataSection(data) => sizes.data = length(data.range())?,
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(subsections) = section.as_known() {
                        for subsection in subsections {
                            if let Name::Function(functions) = subsection? {
                                for naming in functions {
                                    let naming = naming?;
                                    names.insert(naming.index, naming.name);
                                }
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        for (index, size) in (imported..).zip(bodies) {
            let name = names.get(&index).copied().unwrap_or("(unnamed)");
            sizes.add(&format!("{:#}", rustc_demangle::demangle(name)), size);
            if let Some(module) = module_of(name) {
                *sizes.features.entry(features::of(&module).to_owned()).or_default() += size;
            }
        }
        Ok(sizes)
    }

    fn add(&mut self, function: &str, size: usize) {
        let path = path_of(function);
        let (origin, rest) = path.split_once("::").unwrap_or(("(runtime and exports)", ""));
        // What the compiler adds to tell two builds of a crate apart.
        let origin = origin.split_once('[').map_or(origin, |(name, _)| name);
        // A method of a primitive type, `<str>::trim`.
        let origin = if origin.ends_with('>') { "core" } else { origin };
        *self.crates.entry(origin.to_owned()).or_default() += size;
        *self.functions.entry(function.to_owned()).or_default() += size;
        if origin == "wasm_softphone" {
            // The folder and, below it, the file; what follows are types and functions.
            let is_module = |part: &&str| !part.starts_with(|first: char| !first.is_ascii_lowercase());
            let count = rest.split("::").count().saturating_sub(1);
            let module: Vec<&str> = rest.split("::").take(count.min(2)).take_while(is_module).collect();
            let module = if module.is_empty() { "(root)".to_owned() } else { module.join("::") };
            *self.modules.entry(module).or_default() += size;
        }
    }
}

/// The module of ours in which a function is written, by its mangled name (v0 of the Rust reference: `Nt`, once for each module,
/// then the crate, then the names). What it prints as names the type of a method, and not where the `impl` stands.
fn module_of(mangled: &str) -> Option<String> {
    const CRATE: &str = "14wasm_softphone";
    let (before, mut names) = mangled.split_once(CRATE)?;
    let (tags, disambiguator) = before.rsplit_once('C')?;
    // Another crate before ours: ours is only what its code was made for.
    // `NC` is a closure.
    if tags.replace("NC", "").contains('C') || !disambiguator.ends_with('_') {
        return None;
    }
    let outer = tags.trim_end_matches("Nt");
    let mut module = Vec::new();
    for _ in 0..tags.len().saturating_sub(outer.len()) / 2 {
        let digits = names.find(|letter: char| !letter.is_ascii_digit())?;
        let (length, rest) = names.split_at_checked(digits)?;
        let (name, rest) = rest.split_at_checked(length.parse().ok()?)?;
        module.push(name);
        names = rest;
    }
    Some(module.join("::"))
}

fn length(range: Range<u64>) -> Result<usize> {
    Ok(usize::try_from(range.end.saturating_sub(range.start))?)
}

/// The path of the code itself: for `<T as Trait>::method` that of `T`, or that of `Trait` where `T` is of no
/// crate.
fn path_of(function: &str) -> &str {
    let mut path = function;
    loop {
        let shorter = ["<", "&", "mut ", "dyn ", "*const ", "*mut ", "[", "("]
            .iter()
            .fold(path, |path, start| path.strip_prefix(start).unwrap_or(path));
        if shorter.len() == path.len() {
            break;
        }
        path = shorter;
    }
    match path.split_once("::") {
        Some((first, _)) => match first.rsplit_once(" as ") {
            Some((implementor, _)) => path.get(implementor.len() + " as ".len()..).unwrap_or(path),
            None => path,
        },
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_count_for_the_crate_that_wrote_them() {
        let mut sizes = Sizes::default();
        sizes.add("wasm_softphone::sip::wire::split", 10);
        sizes.add("<wasm_softphone::sip::wire::Head as core::fmt::Debug>::fmt", 5);
        sizes.add("<&mut rsip::Uri as core::fmt::Display>::fmt", 3);
        sizes.add("<char as core[c5930c85a12de822]::fmt::Debug>::fmt", 2);
        sizes.add("<str>::trim", 2);
        sizes.add("memcpy", 1);
        let crates: Vec<_> =
            descending(&sizes.crates).into_iter().map(|(name, size)| (name.as_str(), *size)).collect();
        assert_eq!(crates, [("wasm_softphone", 15), ("core", 4), ("rsip", 3), ("(runtime and exports)", 1)]);
        assert_eq!(sizes.modules.get("sip::wire"), Some(&15));
    }

    #[test]
    fn a_method_is_of_the_module_where_its_impl_stands() {
        for (mangled, module) in [
            (
                "_RNvMs_NtNtCsillBF61LgOI_14wasm_softphone5phone5referNtNtB6_4call4Call16on_transfer_news",
                "phone::refer",
            ),
            ("_RNvNtNtCsillBF61LgOI_14wasm_softphone5phone8transfer6notify", "phone::transfer"),
            ("_RNCNvMsn_NtNtCsillBF61LgOI_14wasm_softphone2js4callNtB7_4Call8transfer0Bb_", "js::call"),
            ("_RNvMs0_NtCsillBF61LgOI_14wasm_softphone5phoneNtB5_5Phone12handle_input", "phone"),
        ] {
            assert_eq!(module_of(mangled).as_deref(), Some(module));
        }
        assert_eq!(module_of("_RNvNtCs1_4core3fmt5write"), None);
    }

    #[test]
    fn names_and_sizes_come_from_the_module() {
        // One type () -> (), one function of it, an empty body, and the name `a::b` for it.
        let mut module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b".to_vec();
        module.extend(b"\0\x0e\x04name\x01\x07\x01\0\x04a::b");
        let sizes = Sizes::of(&module).unwrap();
        assert_eq!(sizes.crates.get("a"), Some(&2));
    }

    #[test]
    fn a_weight_shrinks_with_each_compression() {
        let weight = Weight::of("register ".repeat(1000).as_bytes()).unwrap();
        assert_eq!(weight.raw, 9000);
        assert!(weight.gzip < 200 && weight.brotli < weight.gzip, "{weight:?}");
    }
}
