//! The order of the functions in the module: alike ones side by side, where a compressor finds what they have in common.
//! gzip looks back 32 kB only, and brotli predicts from what came just before.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context, Result, anyhow};
use wasm_encoder::{
    CodeSection, FunctionSection, Module,
    reencode::{self, Reencode},
};
use wasmparser::{CodeSectionReader, FunctionSectionReader, Parser, Payload, TypeRef};

/// What two functions are compared by: so many bytes in a row.
const RUN: usize = 5;
/// A run that more functions have tells nothing of any.
const COMMON: usize = 1000;
/// So much of what came before counts: nearly what gzip sees.
const WINDOW: usize = 30_000;

/// The same module with its functions in another order.
pub(crate) fn by_likeness(module: &[u8]) -> Result<Vec<u8>> {
    let (mut imported, mut bodies) = (0_u32, Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let body = module.get(usize::try_from(range.start)?..usize::try_from(range.end)?);
                bodies.push(body.context("a function goes past the end")?);
            }
            _ => {}
        }
    }
    let order = alike(&bodies);
    let mut places = vec![0; order.len()];
    for (place, function) in (imported..).zip(&order) {
        *places.get_mut(*function).context("no such function")? = place;
    }
    let mut ordered = Module::new();
    Ordering { imported, order, places }
        .parse_core_module(&mut ordered, Parser::new(0), module)
        .map_err(|error| anyhow!("cannot write the module anew: {error}"))?;
    Ok(ordered.finish())
}

/// Each function is followed by the one that has most in common with what came shortly before, for its length.
fn alike(bodies: &[&[u8]]) -> Vec<usize> {
    // In the order in which they are met, so that the result is the same each time.
    let mut ids: HashMap<&[u8], usize> = HashMap::new();
    let mut holders: Vec<Vec<usize>> = Vec::new();
    for (function, body) in bodies.iter().enumerate() {
        for run in body.windows(RUN) {
            let next = holders.len();
            let id = *ids.entry(run).or_insert(next);
            if id == next {
                holders.push(Vec::new());
            }
            if let Some(holders) = holders.get_mut(id).filter(|holders| holders.last() != Some(&function)) {
                holders.push(function);
            }
        }
    }
    let mut runs: Vec<Vec<&[usize]>> = vec![Vec::new(); bodies.len()];
    let mut run_ids: Vec<Vec<usize>> = vec![Vec::new(); bodies.len()];
    for (id, holders) in
        holders.iter().enumerate().filter(|(_, holders)| (2..=COMMON).contains(&holders.len()))
    {
        for function in holders {
            if let (Some(runs), Some(ids)) = (runs.get_mut(*function), run_ids.get_mut(*function)) {
                runs.push(holders);
                ids.push(id);
            }
        }
    }

    let mut seen = vec![0_u32; holders.len()];
    let mut common = vec![0.0_f64; bodies.len()];
    let mut left: Vec<usize> = (0..bodies.len()).collect();
    let (mut order, mut window, mut size) = (Vec::new(), VecDeque::new(), 0);
    let length = |function: usize| bodies.get(function).map_or(0, |body| body.len());
    let mut weigh = |function: usize, comes: bool, common: &mut [f64]| {
        let (Some(runs), Some(ids)) = (runs.get(function), run_ids.get(function)) else { return };
        for (holders, id) in runs.iter().zip(ids) {
            let Some(seen) = seen.get_mut(*id) else { continue };
            let changes = if comes { *seen == 0 } else { *seen == 1 };
            *seen = if comes { *seen + 1 } else { seen.saturating_sub(1) };
            if changes {
                // A rare run tells more.
                let weight = 1.0 / as_f64(holders.len()).sqrt();
                for holder in *holders {
                    if let Some(common) = common.get_mut(*holder) {
                        *common += if comes { weight } else { -weight };
                    }
                }
            }
        }
    };
    let score = |function: usize, common: &[f64]| {
        common.get(function).copied().unwrap_or_default() / as_f64(length(function) + 20).powf(0.8)
    };
    while !left.is_empty() {
        let best = (0..left.len()).max_by(|one, other| {
            let at = |place: &usize| left.get(*place).map_or(0.0, |function| score(*function, &common));
            at(one).total_cmp(&at(other)).then(other.cmp(one))
        });
        // In their order, so that what is equally alike stays as it was.
        let function = left.remove(best.unwrap_or_default());
        order.push(function);
        window.push_back(function);
        size += length(function);
        weigh(function, true, &mut common);
        while size > WINDOW && window.len() > 1 {
            let Some(oldest) = window.pop_front() else { break };
            size -= length(oldest);
            weigh(oldest, false, &mut common);
        }
    }
    order
}

/// Of small numbers.
fn as_f64(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

/// Writes the module anew.
struct Ordering {
    imported: u32,
    /// The functions in their new order, counted without the imported ones.
    order: Vec<usize>,
    /// The new index of each.
    places: Vec<u32>,
}

impl Ordering {
    /// These in the new order.
    fn ordered<T>(&self, given: Vec<T>) -> Result<Vec<T>, reencode::Error<core::convert::Infallible>> {
        let mut given: Vec<Option<T>> = given.into_iter().map(Some).collect();
        let mut take = |function: &usize| given.get_mut(*function).and_then(Option::take);
        self.order
            .iter()
            .map(|function| take(function).ok_or(reencode::Error::UnexpectedNonCoreModuleSection))
            .collect()
    }
}

impl Reencode for Ordering {
    type Error = core::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error<Self::Error>> {
        let own = function.checked_sub(self.imported).and_then(|own| usize::try_from(own).ok());
        Ok(own.and_then(|own| self.places.get(own)).copied().unwrap_or(function))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        let types = section.into_iter().collect::<Result<Vec<u32>, _>>()?;
        for kind in self.ordered(types)? {
            functions.function(self.type_index(kind)?);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        let bodies = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for body in self.ordered(bodies)? {
            self.parse_function_body(code, body)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_ones_follow_each_other() {
        let [one, other] = [b"abcdefghijklmnop".as_slice(), b"0123456789".as_slice()];
        let bodies = [one, other, &b"abcdefghijklmnox"[..], &b"0123456780"[..], &b"bcdefghijklmno"[..]];
        assert_eq!(alike(&bodies), [0, 2, 4, 1, 3]);
        assert_eq!(alike(&[]), [0; 0]);
        // What has nothing in common keeps its order.
        assert_eq!(alike(&[b"a", b"b", b"c"]), [0, 1, 2]);
    }

    /// One imported function, three of the module's own that call each other, the second of them exported.
    fn module() -> Vec<u8> {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend([1, 4, 1, 0x60, 0, 0]);
        module.extend([2, 7, 1, 1, b'a', 1, b'b', 0, 0]);
        module.extend([3, 4, 3, 0, 0, 0]);
        module.extend([7, 5, 1, 1, b'f', 0, 2]);
        let nops = [1_u8; 6];
        let body = |start: &[u8]| {
            let mut body = vec![0];
            body.extend(start);
            body.push(0x0b);
            body.insert(0, u8::try_from(body.len()).unwrap());
            body
        };
        let first = body(&[&nops[..], &[0x10, 2]].concat());
        let second = body(&[0x10, 3, 0x10, 0]);
        let third = body(&[&nops[..], &[0x10, 1]].concat());
        let code = [&[3][..], &first, &second, &third].concat();
        module.extend([10, u8::try_from(code.len()).unwrap()]);
        module.extend(code);
        module
    }

    #[test]
    fn who_is_called_is_the_same_as_before() {
        let ordered = by_likeness(&module()).unwrap();
        let (mut calls, mut exported) = (Vec::new(), None);
        for payload in Parser::new(0).parse_all(&ordered) {
            match payload.unwrap() {
                Payload::ExportSection(exports) => {
                    exported = exports.into_iter().next().map(|export| export.unwrap().index);
                }
                Payload::CodeSectionEntry(body) => {
                    let mut called = Vec::new();
                    for operator in body.get_operators_reader().unwrap() {
                        if let wasmparser::Operator::Call { function_index } = operator.unwrap() {
                            called.push(function_index);
                        }
                    }
                    calls.push(called);
                }
                _ => {}
            }
        }
        // Now the first, the third, the second: 1, 2 and 3.
        assert_eq!(calls, [vec![3], vec![1], vec![2, 0]]);
        assert_eq!(exported, Some(3));
    }
}
