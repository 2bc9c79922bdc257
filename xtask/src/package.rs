//! Builds the npm package: the release module and its glue, into `pkg/` beside the files written by hand.

use std::{
    fs,
    io::Write as _,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::{Compression, write::GzEncoder};
use wasm_bindgen_cli_support::Bindgen;
use wasmparser::{DataKind, ExternalKind, Operator, Parser, Payload, TypeRef};

use crate::{
    names, order,
    process::Task,
    setup::{cargo_tools, node},
    workspace::{self, fingerprint, read_stamp, root},
};

/// Exactly what rustc emits for wasm32-unknown-unknown. With `--all-features` wasm-opt would emit what browsers
/// refuse.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// What is not needed at run time.
const STRIP: [&str; 3] = ["--strip-debug", "--strip-producers", "--strip-target-features"];

/// A standard library built for size rather than the ready-made one built for speed. Stable rustc has the switch,
/// but only says yes to it with `RUSTC_BOOTSTRAP`.
const OWN_STD: [&str; 2] = ["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"];

/// Neither the message and the place of every panic nor derived `Debug` text is worth its bytes in a browser: a panic
/// is a trap, and every trap ends in a `fatal` event by the guard around the exports.
///
/// Addresses below one MiB take three bytes in place of four, so the stack, which lies below the data, is half of
/// the linker's usual one. A function that is called by another signature than its own is a trap at run time, of which
/// the linker only warns: its warnings are errors here.
///
/// LLVM's `experimental-mv` ABI (several return values) would save 3 %, but the one of rustc 1.95 breaks code: it reads
/// a variable before the second value of a call is there, and takes the ACK of a call for another one.
const RUSTFLAGS: &str = "-Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none -Zfmt-debug=none \
                         -Clink-arg=-zstack-size=524288 -Clink-arg=--fatal-warnings";

/// What shrinks the module best after compression: inlining saves bytes but makes them less alike. Code that is
/// flattened first and put together again is a little smaller. At the lowest kilobyte there is nothing but the end of the
/// stack, so that an offset can be part of each load and store.
const OPTIMISE: [&str; 12] = [
    "--flatten",
    "--rereloop",
    "--gufa",
    "-Oz",
    "--converge",
    "--low-memory-unused",
    "--always-inline-max-function-size=1",
    "--one-caller-inline-max-function-size=0",
    "--flexible-inline-max-function-size=0",
    "--skip-pass=local-cse",
    // Written and read, as what is left after one round looks different to the next.
    "--roundtrip",
    "-Oz",
];

/// The module, by the name under which the glue loads it.
pub(crate) const MODULE: &str = "wasm_softphone_bg.wasm";

/// The glue that wasm-bindgen writes.
pub(crate) const GLUE: &str = "wasm_softphone.js";

/// The module as a text, for hosts that do not take the file along.
const EMBEDDED: &str = "embedded.js";

/// The directory of the package whose entry is for debugging.
const DEBUG: &str = "debug";

/// The texts of the licences.
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// The entry of the package.
pub(crate) const ENTRY: &str = "index.js";

/// How the package is made: another way makes another package.
const STEPS: &str = concat!(include_str!("package.rs"), include_str!("names.rs"), include_str!("order.rs"));

/// The package directory.
pub(crate) fn dir() -> PathBuf {
    root().join("pkg")
}

/// Builds what is out of date. Cargo knows about the module; a stamp tells about the steps after it.
pub(crate) fn build() -> Result<()> {
    cargo_tools::wasm_target()?;
    node::modules()?;

    let sources = sources()?;
    let module = compile()?;
    make(&module)?;
    let stamp = sources_stamp()?;
    fs::write(&stamp, sources).with_context(|| format!("cannot write {}", stamp.display()))
}

/// The steps after the compiler, where they are not done yet.
fn make(module: &Path) -> Result<()> {
    let pkg = dir();
    fs::create_dir_all(&pkg).with_context(|| format!("cannot create {}", pkg.display()))?;
    let stamp = workspace::scratch()?.join("pkg.stamp");
    if read_stamp(&stamp) == state(module, &pkg)? {
        return Ok(());
    }
    // From here on `pkg/` is not what it was, whatever happens.
    drop(fs::remove_file(sources_stamp()?));
    let bound = bind(module, Names::Readable, "bound")?;
    let path = workspace::scratch()?.join("optimised.wasm");
    optimise(&bound.join(MODULE), &path, &STRIP)?;
    refuse_foreign_imports(&path)?;
    let optimised = order::by_likeness(&read(&path)?)?;
    let (short_module, short_glue) = names::shorten(&optimised, &glue_of(&bound, &optimised)?)?;
    write(&pkg.join(MODULE), &short_module)?;
    write(&pkg.join(EMBEDDED), embedded(&short_module)?.as_bytes())?;
    for licence in LICENCES {
        write(&pkg.join(licence), &read(&root().join(licence))?)?;
    }
    let named_short = workspace::scratch()?.join(GLUE);
    write(&named_short, short_glue.as_bytes())?;
    minify(&named_short, &pkg.join(GLUE), &["--minify"])?;
    minify(&entry_source(), &pkg.join(ENTRY), &["--minify"])?;
    write_debug(&bound, &pkg.join(DEBUG))?;
    fs::write(&stamp, state(module, &pkg)?).with_context(|| format!("cannot write {}", stamp.display()))?;
    println!("built pkg/{MODULE} ({} bytes)", fs::metadata(pkg.join(MODULE))?.len());
    Ok(())
}

/// The package as a page of the demo loads it, and whether it is the one in `pkg/`. Where that is out of date, the page need
/// not wait for it: the same code is there much sooner with the standard library as rustup has it, hardly optimised and
/// not made small.
pub(crate) fn for_the_demo() -> Result<(PathBuf, bool)> {
    if is_current()? {
        return Ok((dir(), true));
    }
    cargo_tools::wasm_target()?;
    let module = compile_soon()?;
    let dir = workspace::scratch()?.join("page");
    copy_files(&dir)?;
    let stamp = workspace::scratch()?.join("page.stamp");
    let made_of = fingerprint(&[&read(&module)?, &read(&entry_source())?, STEPS.as_bytes()]);
    if read_stamp(&stamp) == made_of {
        return Ok((dir, false));
    }
    drop(fs::remove_file(&stamp));
    let bound = bind(&module, Names::Readable, "bound-page")?;
    let module = read(&bound.join(MODULE))?;
    write(&dir.join(MODULE), &module)?;
    write(&dir.join(GLUE), glue_of(&bound, &module)?.as_bytes())?;
    write(&dir.join(ENTRY), &read(&entry_source())?)?;
    write(&stamp, made_of.as_bytes())?;
    Ok((dir, false))
}

/// Whether `pkg/` was built of the sources that are there now, as far as that can be told without compiling.
fn is_current() -> Result<bool> {
    let built = [MODULE, GLUE, ENTRY, EMBEDDED].iter().all(|name| dir().join(name).is_file());
    Ok(built && read_stamp(&sources_stamp()?) == sources()?)
}

fn sources_stamp() -> Result<PathBuf> {
    Ok(workspace::scratch()?.join("pkg.sources"))
}

/// What the module is made of, and what steps.
fn sources() -> Result<String> {
    let mut files = Vec::new();
    for place in ["src", "allocator"] {
        files.append(&mut workspace::files_below(&root().join(place))?);
    }
    files.extend(["Cargo.toml", "Cargo.lock", "package-lock.json"].map(|name| root().join(name)));
    files.sort();
    let mut parts = vec![Task::new("rustc").arg("--version").read()?.into_bytes(), STEPS.as_bytes().to_vec()];
    for file in files {
        parts.push(file.to_string_lossy().into_owned().into_bytes());
        parts.push(read(&file)?);
    }
    Ok(fingerprint(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// An ES module that gives the module without fetching anything: compressed, as a text is a third longer than its bytes.
fn embedded(module: &[u8]) -> Result<String> {
    let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
    compressed.write_all(module)?;
    let text = BASE64_STANDARD.encode(compressed.finish()?);
    Ok(format!(
        "const text='{text}';
export function embedded(){{
const bytes=Uint8Array.from(atob(text),(letter)=>letter.charCodeAt(0));
const module=new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
return new Response(module,{{headers:{{'Content-Type':'application/wasm'}}}});
}}\n"
    ))
}

/// The entry for debugging: nothing is made small, and the functions of the module have their names. The module is in a text
/// alone, since both forms of it would double the package.
fn write_debug(bound: &Path, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let module = read(&bound.join(MODULE))?;
    write(&dir.join(EMBEDDED), embedded(&module)?.as_bytes())?;
    write(&dir.join(GLUE), glue_of(bound, &module)?.as_bytes())?;
    let entry = debug_entry(core::str::from_utf8(&read(&entry_source())?)?)?;
    write(&dir.join(ENTRY), entry.as_bytes())
}

/// The entry, of a directory below the package's own and without a file of the module.
fn debug_entry(entry: &str) -> Result<String> {
    const FILE: &str = "/** The file beside this one.";
    const NEXT: &str = "/** What was given to";
    let found = entry.split_once(FILE).and_then(|(before, rest)| Some((before, rest.split_once(NEXT)?.1)));
    let Some((before, after)) = found else {
        bail!("the entry finds the module in a way that is not known here")
    };
    let mut entry = format!("{before}const fromFile = () => fromText();\n\n{NEXT}{after}");
    for shared in ["unavailable.js", "resume.js", "timer.js"] {
        let (from, to) = (format!("'./{shared}'"), format!("'../{shared}'"));
        if !entry.contains(&from) {
            bail!("the entry does not load {shared}");
        }
        entry = entry.replace(&from, &to);
    }
    Ok(entry)
}

/// The glue as the package has it, before it is made small.
fn glue_of(bound: &Path, module: &[u8]) -> Result<String> {
    let glue = without_code_of_text(core::str::from_utf8(&read(&bound.join(GLUE))?)?)?;
    let glue = one_way_in(&coders_when_started(&glue)?)?;
    if most_arguments(module)? > ARGUMENTS {
        bail!("an export takes more arguments than the guard passes on");
    }
    guarded(&fewer_copies(&glue, constants(module)?)?)
}

/// js-sys looks for the global object with `new Function("return this")` where it has no name, which no browser needs that
/// has WebAssembly: a page's policy would forbid it, and who checks the package for it would find it.
fn without_code_of_text(glue: &str) -> Result<String> {
    const START: &str = "new Function(getStringFromWasm0(arg0, arg1))";
    let clean = glue.replace(START, "() => globalThis");
    if clean.contains("new Function") || clean.contains("eval(") {
        bail!("the glue makes code of text in a way that is not known here");
    }
    Ok(clean)
}

/// The coders of texts are made when the module is started and not when the glue is imported: jsdom in Jest has none, and what is
/// imported there may never be started. Node's own serve there. `encodeInto` is older than what the module needs of browsers.
fn coders_when_started(glue: &str) -> Result<String> {
    const DECODER: &str = "let cachedTextDecoder = new TextDecoder('utf-8', { ignoreBOM: true });\ncachedTextDecoder.decode();\n";
    const ENCODER: &str =
        "const cachedTextEncoder = new TextEncoder();\n\nif (!('encodeInto' in cachedTextEncoder)) {";
    const END: &str = "\n}\n";
    const MAKE: &str = "let cachedTextDecoder, cachedTextEncoder;
function makeCoders() {
    const scope = globalThis.TextDecoder ? globalThis : globalThis.process.getBuiltinModule('node:util');
    cachedTextDecoder = new scope.TextDecoder('utf-8', { ignoreBOM: true });
    cachedTextEncoder = new scope.TextEncoder();
}
";
    let parts = glue.split_once(DECODER).and_then(|(before, rest)| {
        let (between, rest) = rest.split_once(ENCODER)?;
        Some((before, between, rest.split_once(END)?.1))
    });
    let Some((before, between, after)) = parts else {
        bail!("the glue makes its coders of texts in a way that is not known here");
    };
    // One that has read 2 GiB is replaced, as Safari's reads no more.
    Ok(format!(
        "{before}{MAKE}{}{after}",
        between.replace("new TextDecoder(", "new cachedTextDecoder.constructor(")
    ))
}

/// The entry finds the module, and the glue only starts it: its own ways of looking for one go.
fn one_way_in(glue: &str) -> Result<String> {
    const FROM: &str = "function initSync(module) {";
    const TO: &str = "export { initSync, __wbg_init as default };\n";
    let found = glue.split_once(FROM).and_then(|(before, rest)| Some((before, rest.split_once(TO)?.1)));
    let Some((before, after)) = found else { bail!("the glue is started in a way that is not known here") };
    Ok(format!(
        "{before}async function __wbg_init(source) {{
    makeCoders();
    const {{ instance, module }} = await __wbg_load(source, __wbg_get_imports());
    return __wbg_finalize_init(instance, module);
}}

export {{ __wbg_init as default }};
{after}"
    ))
}

/// Long texts into the module are copied by the browser and not by a loop, and a text among the module's constants, such as
/// the name of a property, is made a JavaScript string once. Both are in the way of every message.
fn fewer_copies(glue: &str, constants: Range<u32>) -> Result<String> {
    const IN: &str = "    let len = arg.length;\n    let ptr = malloc(len, 1) >>> 0;\n\n    const mem = getUint8ArrayMemory0();\n";
    const OUT: &str = "    return decodeText(getUint8ArrayMemory0().subarray(ptr, ptr + len));\n";
    for known in [IN, OUT] {
        if glue.matches(known).count() != 1 {
            bail!("the glue copies texts in a way that is not known here");
        }
    }
    // Where all of it has found room, each character was one byte. Another text takes the way that it always took.
    let copied = format!(
        "{IN}    if (len > 64 && cachedTextEncoder.encodeInto(arg, mem.subarray(ptr, ptr + len)).read === len) {{
        WASM_VECTOR_LEN = len;
        return ptr;
    }}\n"
    );
    let Range { start, end } = constants;
    let kept = format!(
        "    const decode = () => decodeText(getUint8ArrayMemory0().subarray(ptr, ptr + len));
    if (ptr < {start} || ptr >= {end}) return decode();
    const place = ptr * 65536 + len;
    let text = constantTexts.get(place);
    if (text === undefined) constantTexts.set(place, text = decode());
    return text;\n"
    );
    Ok(glue.replace(IN, &copied).replace(OUT, &kept) + "\nconst constantTexts = new Map();\n")
}

/// The addresses of what the module has from the first, and never changes where it is a text.
fn constants(module: &[u8]) -> Result<Range<u32>> {
    let mut all: Option<Range<u32>> = None;
    for payload in Parser::new(0).parse_all(module) {
        let Payload::DataSection(segments) = payload? else { continue };
        for segment in segments {
            let segment = segment?;
            let DataKind::Active { offset_expr, .. } = segment.kind else { continue };
            let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                bail!("a data segment without a fixed address");
            };
            let start = u32::try_from(value).context("a data segment beyond 2 GiB")?;
            let end = start.saturating_add(u32::try_from(segment.data.len())?);
            let known = all.unwrap_or(start..end);
            all = Some(known.start.min(start)..known.end.max(end));
        }
    }
    all.context("the module has no data")
}

/// Around every function that the module exports: what leaves the module by a trap has left its borrows taken, so the
/// module is told (`src/js/fatal.rs`), once for each trap. A stack that overflows is a `RangeError` in some browsers and an
/// `InternalError` in others.
const GUARD: &str = "
const trapped = new WeakSet();
let failing = false;
function fail(error) {
    const trap = error instanceof WebAssembly.RuntimeError || error instanceof RangeError || error?.name === 'InternalError';
    if (!trap || failing || trapped.has(error)) return;
    trapped.add(error);
    failing = true;
    try {
        wasm.moduleTrapped(error.stack ?? String(error));
    } catch (second) {
        console.error(second);
    }
    failing = false;
}
function guard(exports) {
    const guarded = {};
    for (const [name, value] of Object.entries(exports)) {
        // As many arguments as the longest list has: spread ones cost more than all the rest of this.
        guarded[name] = typeof value !== 'function' ? value : (a, b, c, d, e, f, g, h) => {
            try {
                return value(a, b, c, d, e, f, g, h);
            } catch (error) {
                fail(error);
                throw error;
            }
        };
    }
    return guarded;
}
";

/// How many arguments the guard passes on.
const ARGUMENTS: usize = 8;

/// How many the function with the longest list has, of those that the module exports.
fn most_arguments(module: &[u8]) -> Result<usize> {
    let (mut types, mut functions, mut most) = (Vec::new(), Vec::new(), 0);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(groups) => {
                for kind in groups.into_iter_err_on_gc_types() {
                    types.push(kind?.params().len());
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if let TypeRef::Func(kind) | TypeRef::FuncExact(kind) = import?.ty {
                        functions.push(kind);
                    }
                }
            }
            Payload::FunctionSection(kinds) => {
                for kind in kinds {
                    functions.push(kind?);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    let kind = functions
                        .get(usize::try_from(export.index)?)
                        .filter(|_| export.kind == ExternalKind::Func);
                    let arguments = kind.and_then(|kind| types.get(usize::try_from(*kind).ok()?));
                    most = most.max(arguments.copied().unwrap_or_default());
                }
            }
            _ => {}
        }
    }
    Ok(most)
}

/// The glue with the guard.
fn guarded(glue: &str) -> Result<String> {
    const PLACE: &str = "    wasm = instance.exports;\n";
    if glue.matches(PLACE).count() != 1 || !glue.contains("wasm.moduleTrapped(") {
        bail!("the glue takes the exports in a way that is not known here");
    }
    Ok(glue.replace(PLACE, "    wasm = guard(instance.exports);\n") + GUARD)
}

/// The optimised module with the names of its functions kept, for telling sizes by crate.
pub(crate) fn named_module() -> Result<PathBuf> {
    let module = compile()?;
    let named = workspace::scratch()?.join("named.wasm");
    let stamp = workspace::scratch()?.join("named.stamp");
    let state = || -> Result<String> {
        Ok(fingerprint(&[&read(&module)?, &fs::read(&named).unwrap_or_default(), STEPS.as_bytes()]))
    };
    if read_stamp(&stamp) != state()? {
        let bound = bind(&module, Names::Mangled, "bound-named")?;
        optimise(&bound.join(MODULE), &named, &["-g"])?;
        write(&stamp, state()?.as_bytes())?;
    }
    Ok(named)
}

/// The package with the names of its functions, as a profile needs it: the same code, and glue that is not made small. Returns its
/// directory, which is not `pkg/`.
pub(crate) fn named_package() -> Result<PathBuf> {
    build()?;
    let bound = bind(&compile()?, Names::Readable, "bound-profile")?;
    let dir = workspace::scratch()?.join("named");
    copy_files(&dir)?;
    write(&dir.join(EMBEDDED), &read(&self::dir().join(EMBEDDED))?)?;
    optimise(&bound.join(MODULE), &dir.join(MODULE), &["-g"])?;
    write(&dir.join(GLUE), glue_of(&bound, &read(&dir.join(MODULE))?)?.as_bytes())?;
    write(&dir.join(ENTRY), &read(&entry_source())?)?;
    Ok(dir)
}

/// Copies what is written by hand, and the licences, to another directory.
fn copy_files(to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(dir())? {
        let from = entry?.path();
        let Some(name) = from.file_name().filter(|_| from.is_file()) else { continue };
        // Those belong together, and are made for each place.
        if [MODULE, GLUE, ENTRY, EMBEDDED].iter().any(|made| name == *made) {
            continue;
        }
        fs::copy(&from, to.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

fn entry_source() -> PathBuf {
    root().join("src/package").join(ENTRY)
}

fn compile() -> Result<PathBuf> {
    let mut build = cargo_build("release");
    if cargo_tools::std_source()? {
        build = build.args(OWN_STD).env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", RUSTFLAGS);
    }
    build.run()?;
    Ok(compiled("release"))
}

/// For the demo's first page.
fn compile_soon() -> Result<PathBuf> {
    cargo_build("page").in_sight()?;
    Ok(compiled("page"))
}

fn cargo_build(profile: &str) -> Task {
    Task::cargo()
        // Only the cdylib: where the rlib of the manifest is made too, cargo leaves out the optimisation across
        // crates, and the module is a tenth larger.
        .args(["rustc", "--profile", profile, "--lib", "--crate-type", "cdylib"])
        .args(["--package", "wasm-softphone", "--features", "allocator"])
        .args(["--target", cargo_tools::WASM])
        .arg("--target-dir")
        .arg(target_dir())
        .deadline(Duration::from_secs(1800))
}

/// A directory of its own: other builds for wasm have other flags.
fn target_dir() -> PathBuf {
    workspace::target().join("package")
}

fn compiled(profile: &str) -> PathBuf {
    target_dir().join(cargo_tools::WASM).join(profile).join("wasm_softphone.wasm")
}

/// How the functions of a bound module are called in its section of names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// As in the source.
    Readable,
    /// As the compiler tells them apart.
    Mangled,
}

/// Writes the glue, and the module as the glue wants it. Each use has a folder of its own: a demo may start while another builds.
fn bind(module: &Path, names: Names, folder: &str) -> Result<PathBuf> {
    let out = workspace::scratch()?.join(folder);
    Bindgen::new()
        .web(true)?
        .input_path(module)
        .out_name("wasm_softphone")
        .typescript(false)
        .demangle(names == Names::Readable)
        .generate(&out)
        .context("wasm-bindgen")?;
    Ok(out)
}

/// Always npm's wasm-opt: older ones, such as a distribution may have on PATH, break the module.
fn optimise(from: &Path, to: &Path, more: &[&str]) -> Result<()> {
    node::program("binaryen", "bin/wasm-opt")?
        .arg(from)
        .arg("--output")
        .arg(to)
        .args(OPTIMISE)
        .args(FEATURES)
        .args(more)
        .step("wasm-opt -Oz")
}

/// The glue without comments and long names, still an ES module with `new URL(…, import.meta.url)`, by which
/// bundlers find the module.
fn minify(from: &Path, to: &Path, how: &[&str]) -> Result<()> {
    node::program("esbuild", "bin/esbuild")?
        .arg(from)
        .args(how)
        .args(["--format=esm", "--target=es2022", "--log-level=warning"])
        .arg(format!("--outfile={}", to.display()))
        .run()
}

/// An import from `env` is a C symbol that nothing defines: code that is not for wasm slipped in.
fn refuse_foreign_imports(module: &Path) -> Result<()> {
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let foreign = foreign_imports(&bytes)?;
    if !foreign.is_empty() {
        bail!("the module imports what no browser has: {}", foreign.join(", "));
    }
    Ok(())
}

fn foreign_imports(module: &[u8]) -> Result<Vec<String>> {
    let mut foreign = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(imports) = payload? {
            for import in imports.into_imports() {
                let import = import?;
                if import.module == "env" {
                    foreign.push(format!("{}.{}", import.module, import.name));
                }
            }
        }
    }
    Ok(foreign)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(to: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}

/// What the package was made of and what was made, as far as it is there.
fn state(module: &Path, pkg: &Path) -> Result<String> {
    let module = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let lock = fs::read(root().join("package-lock.json")).context("cannot read package-lock.json")?;
    let version = workspace::locked_version("wasm-bindgen")?;
    let entry = fs::read(entry_source()).context("cannot read the entry of the package")?;
    let made = [MODULE, GLUE, ENTRY, EMBEDDED].map(|name| fs::read(pkg.join(name)).unwrap_or_default());
    let [wasm, glue, minified, text] = &made;
    let debug = [EMBEDDED, GLUE, ENTRY].map(|name| fs::read(pkg.join(DEBUG).join(name)).unwrap_or_default());
    let steps = STEPS.as_bytes();
    Ok(fingerprint(&[
        &module,
        &lock,
        &entry,
        version.as_bytes(),
        steps,
        wasm,
        glue,
        minified,
        text,
        &debug.concat(),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_glue_makes_no_code_of_text() {
        let glue = "const ret = new Function(getStringFromWasm0(arg0, arg1));";
        assert_eq!(without_code_of_text(glue).unwrap(), "const ret = () => globalThis;");
        for unknown in ["new Function('a', 'return a')", "eval(text)"] {
            without_code_of_text(unknown).unwrap_err();
        }
    }

    #[test]
    fn texts_are_copied_by_the_browser_and_those_of_the_module_once() {
        let glue = "    let len = arg.length;\n    let ptr = malloc(len, 1) >>> 0;\n\n    const mem = getUint8ArrayMemory0();\n\
                    \x20   return decodeText(getUint8ArrayMemory0().subarray(ptr, ptr + len));\n";
        let faster = fewer_copies(glue, 10..20).unwrap();
        assert!(
            faster.contains("ptr < 10 || ptr >= 20") && faster.contains("encodeInto(arg, mem"),
            "{faster}"
        );
        fewer_copies("another", 10..20).unwrap_err();
    }

    #[test]
    fn the_constants_are_where_the_data_is() {
        // Two active segments: two bytes at 8, and one at 100.
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend([5, 3, 1, 0, 1]);
        module.extend([11, 15, 2, 0, 0x41, 8, 0x0b, 2, b'a', b'b', 0, 0x41, 0xe4, 0, 0x0b, 1, b'c']);
        assert_eq!(constants(&module).unwrap(), 8..101);
        constants(b"\0asm\x01\0\0\0").unwrap_err();
    }

    #[test]
    fn the_longest_list_of_arguments_is_that_of_an_export() {
        // Types of one and of three arguments; a function of each, of which the first is exported.
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend([1, 11, 2, 0x60, 1, 0x7f, 0, 0x60, 3, 0x7f, 0x7f, 0x7f, 0]);
        module.extend([3, 3, 2, 0, 1]);
        let exported = module.len() + 6;
        module.extend([7, 5, 1, 1, b'f', 0, 0]);
        module.extend([10, 7, 2, 2, 0, 0x0b, 2, 0, 0x0b]);
        assert_eq!(most_arguments(&module).unwrap(), 1);
        module[exported] = 1;
        assert_eq!(most_arguments(&module).unwrap(), 3);
    }

    #[test]
    fn the_glue_starts_what_it_is_given() {
        let glue = "a\nfunction initSync(module) {\n}\nb\nexport { initSync, __wbg_init as default };\nc";
        let short = one_way_in(glue).unwrap();
        assert!(short.starts_with("a\nasync function __wbg_init(source) {"), "{short}");
        assert!(short.ends_with("export { __wbg_init as default };\nc"), "{short}");
        one_way_in("another").unwrap_err();
    }

    #[test]
    fn the_debug_entry_has_no_file_and_shares_what_it_can() {
        let entry = "a\n/** The file beside this one. */\nb\n/** What was given to it */\n\
                     import('./unavailable.js') './resume.js' './timer.js' './embedded.js'";
        let debug = debug_entry(entry).unwrap();
        assert_eq!(
            debug,
            "a\nconst fromFile = () => fromText();\n\n/** What was given to it */\n\
             import('../unavailable.js') '../resume.js' '../timer.js' './embedded.js'"
        );
        debug_entry("another").unwrap_err();
        debug_entry("/** The file beside this one. */ /** What was given to").unwrap_err();
    }

    #[test]
    fn importing_the_glue_makes_nothing() {
        let glue = "a
let cachedTextDecoder = new TextDecoder('utf-8', { ignoreBOM: true });
cachedTextDecoder.decode();
        cachedTextDecoder = new TextDecoder('utf-8', { ignoreBOM: true });
const cachedTextEncoder = new TextEncoder();

if (!('encodeInto' in cachedTextEncoder)) {
    cachedTextEncoder.encodeInto = function (arg, view) {
    };
}
z";
        let lazy = coders_when_started(glue).unwrap();
        assert!(lazy.starts_with("a\nlet cachedTextDecoder, cachedTextEncoder;\n"), "{lazy}");
        assert!(lazy.contains("cachedTextDecoder = new cachedTextDecoder.constructor('utf-8'"), "{lazy}");
        assert!(lazy.ends_with("\nz") && !lazy.contains("'encodeInto'"), "{lazy}");
        coders_when_started("another").unwrap_err();
    }

    #[test]
    fn the_module_is_in_a_text() {
        let text = embedded(b"\0asm").unwrap();
        let start = text.strip_prefix("const text='").unwrap();
        let (data, code) = start.split_once("';").unwrap();
        let mut module = String::new();
        let compressed = BASE64_STANDARD.decode(data).unwrap();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*compressed), &mut module).unwrap();
        assert_eq!(module, "\0asm");
        assert!(code.contains("export function embedded()"), "{code}");
    }

    #[test]
    fn the_exports_are_guarded() {
        let glue = "    wasm = instance.exports;\n wasm.moduleTrapped(cause);\n";
        assert!(guarded(glue).unwrap().starts_with("    wasm = guard(instance.exports);\n"));
        guarded("wasm = instance.exports").unwrap_err();
    }

    /// A module that imports one function of type () -> ().
    fn importing(module: &str) -> Vec<u8> {
        let mut bytes = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0".to_vec();
        let size = u8::try_from(module.len() + 6).unwrap();
        bytes.extend([2, size, 1, u8::try_from(module.len()).unwrap()]);
        bytes.extend(module.as_bytes());
        bytes.extend([1, b'f', 0, 0]);
        bytes
    }

    #[test]
    fn an_import_from_env_is_foreign() {
        assert_eq!(foreign_imports(&importing("env")).unwrap(), ["env.f"]);
        assert_eq!(foreign_imports(&importing("./glue.js")).unwrap(), [""; 0]);
    }
}
