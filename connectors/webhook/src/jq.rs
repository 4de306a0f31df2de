//! The mapping language: jq (by jaq), compiled once, pure, and bounded in what it may do.
//!
//! * Pure: `now`, `env`, `input`, `halt`, `debug`, local time and modules are not there.
//! * Bounded: every call of a definition counts as a step, `range` included, and the steps grow with the input; a
//!   definition that calls itself is refused, so the stack cannot overflow; outputs are counted too.
//!
//! A mapping is configuration, not input: one that multiplies strings by numbers of the input can still use up memory.

mod rewrite;

use std::cell::Cell;

use jaq_core::data::HasLut;
use jaq_core::load::parse::{Def, Term};
use jaq_core::load::{Arena, File, Lexer, Loader, Parser};
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Compiler, Ctx, Cv, DataT, Error, Lut, ValXs, Vars, unwrap_valr};
use jaq_json::{Val, read};
use serde_json::Value;

use rewrite::Rewrite;

/// Most outputs of a mapping for one input item.
pub const OUTPUTS_MAX: usize = 1000;
/// Steps that any input may take, and those added for each of its bytes.
const STEPS_BASE: u64 = 100_000;
const STEPS_PER_BYTE: u64 = 8;
/// Variables that a mapping may use beside its input.
const VARIABLES: [&str; 2] = ["$headers", "$query"];
/// What looks at the outside world, or prints.
const IMPURE: &[&str] = &[
    "now",
    "env",
    "halt",
    "halt_error",
    "debug",
    "debug_empty",
    "stderr",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    "input",
    "inputs",
    "input_filename",
];
/// Counts a step; not a name that a program can write.
const TICK: &str = "!tick";
const MAIN: &str = "inlet_main";
/// `range` in jq itself, so that each of its values is a step; the native one is not.
const RANGE: &str = "def range($from; $to; $by): $from | def rec: \
    if ($by > 0 and . < $to) or ($by < 0 and . > $to) then ., (. + $by | rec) else {}[] end; rec;";

/// A compiled mapping.
pub struct Program {
    filter: jaq_core::Filter<Data>,
    /// String literals of the source: the only strings that an error may show.
    literals: Vec<String>,
}

/// Types of values and of what natives can reach while a program runs.
struct Data;

#[derive(Clone)]
struct Running<'a> {
    lut: &'a Lut<Data>,
    steps_left: &'a Cell<u64>,
}

impl DataT for Data {
    type V<'a> = Val;
    type Data<'a> = Running<'a>;
}

impl<'a> HasLut<'a, Data> for Running<'a> {
    fn lut(&self) -> &'a Lut<Data> {
        self.lut
    }
}

/// A program that cannot be compiled: where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("jq, line {line} column {column}: {message}")]
pub struct CompileError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl CompileError {
    fn at(code: &str, part: &str, message: String) -> Self {
        let offset = (part.as_ptr() as usize).wrapping_sub(code.as_ptr() as usize).min(code.len());
        let before = code.get(..offset).unwrap_or(code);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        Self { line, column, message }
    }
}

impl Program {
    pub fn compile(code: &str) -> Result<Self, CompileError> {
        let main = parse(code)?;
        let mut literals = Vec::new();
        let main = Rewrite::of_program(code, &mut literals).term(main)?;
        let arena = Arena::default();
        let modules = Loader::new(prelude(main))
            .load(&arena, File { code: MAIN, path: () })
            .map_err(|_| CompileError::at(code, code, "the standard definitions cannot be read".to_owned()))?;
        let filter = Compiler::default().with_funs(natives()).with_global_vars(VARIABLES).compile(modules).map_err(
            |errors| match errors.into_iter().flat_map(|(_, errors)| errors).next() {
                Some((name, what)) => CompileError::at(code, name, format!("undefined {}: {name}", what.as_str())),
                None => CompileError::at(code, code, "cannot be compiled".to_owned()),
            },
        )?;
        Ok(Self { filter, literals })
    }

    /// String literals of the source: among them the names of what it reads.
    pub fn literals(&self) -> &[String] {
        &self.literals
    }

    /// Runs over one item; the outputs as JSON, or what went wrong, in words without the input's content.
    pub fn run(&self, input: &str, headers: &Value, query: &Value) -> Result<Vec<Value>, String> {
        let value = |json: &str| read::parse_single(json.as_bytes()).map_err(|e| format!("input: {e}"));
        let vars = [value(&headers.to_string())?, value(&query.to_string())?];
        let steps_left = Cell::new(STEPS_BASE + STEPS_PER_BYTE * input.len() as u64);
        let running = Running { lut: &self.filter.lut, steps_left: &steps_left };
        let cx = Ctx::<Data>::new(running, Vars::new(vars));
        let mut outputs = Vec::new();
        for output in self.filter.id.run((cx, value(input)?)).map(unwrap_valr) {
            let output = output.map_err(|error| self.without_content(&error.to_string()))?;
            if outputs.len() == OUTPUTS_MAX {
                return Err(format!("more than {OUTPUTS_MAX} outputs"));
            }
            let output = serde_json::from_str(&output.to_string())
                .map_err(|_| "output is not JSON (a byte string, NaN or infinity)".to_owned())?;
            outputs.push(output);
        }
        Ok(outputs)
    }

    /// jq quotes values in its errors: those that the source does not hold itself are left out.
    fn without_content(&self, message: &str) -> String {
        const MESSAGE_MAX_BYTES: usize = 300;
        // An error that is a string is written as JSON.
        let unquoted = serde_json::from_str::<String>(message).unwrap_or_else(|_| message.to_owned());
        let message = unquoted.as_str();
        if self.literals.iter().any(|literal| literal == message) {
            return message.to_owned();
        }
        let known =
            ["cannot index", "cannot use", "cannot calculate", "cannot parse", "cannot iterate", "invalid path"];
        if !known.iter().any(|start| message.starts_with(start)) && message != STEPS_USED_UP {
            return "error raised by the mapping".to_owned();
        }
        let mut shown = String::new();
        for (at, piece) in message.split('"').enumerate() {
            let literal = at % 2 == 0 || self.literals.iter().any(|literal| literal == piece);
            let piece = if literal { piece } else { "…" };
            shown.push_str(if at > 0 { "\"" } else { "" });
            shown.push_str(piece);
        }
        connector_sdk::text::cut(&shown, MESSAGE_MAX_BYTES).0.to_owned()
    }
}

const STEPS_USED_UP: &str = "cannot use more steps: the mapping runs too long for an input of this size";

fn parse(code: &str) -> Result<Term<&str>, CompileError> {
    let tokens = Lexer::new(code).lex().map_err(|errors| {
        first(code, errors, |(expected, found)| {
            CompileError::at(code, found, format!("expected {}", expected.as_str()))
        })
    })?;
    Parser::new(&tokens).parse(|parser| parser.term()).map_err(|errors| {
        first(code, errors, |(expected, found)| {
            let found = jaq_core::load::lex::Token::opt_as_str(found, code);
            CompileError::at(code, found, format!("expected {}", expected.as_str()))
        })
    })
}

fn first<E>(code: &str, errors: Vec<E>, describe: impl FnOnce(E) -> CompileError) -> CompileError {
    errors.into_iter().next().map_or_else(|| CompileError::at(code, code, "cannot be read".to_owned()), describe)
}

/// The standard definitions without what is impure, each counting its steps, and the program as one more.
fn prelude(main: Term<&str>) -> Vec<Def<&str>> {
    let range = jaq_core::load::parse(RANGE, |parser| parser.defs()).unwrap_or_default();
    let mut literals = Vec::new();
    let mut rewrite = Rewrite::of_standard_definitions(&mut literals);
    range
        .into_iter()
        .chain(jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()))
        .filter(|def| !IMPURE.contains(&def.name))
        // Only refused recursion is an error.
        .filter_map(|def| rewrite.def(def).ok())
        .chain([Def { name: MAIN, args: Vec::new(), body: main }])
        .collect()
}

fn natives() -> impl Iterator<Item = Fun<Data>> {
    let native_range = |fun: &Fun<Data>| fun.0 == "range";
    jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .filter(move |fun| !IMPURE.contains(&fun.0) && !native_range(fun))
        .chain([run::<Data>((TICK, v(0), tick))])
}

fn tick<'a>((cx, _): Cv<'a, Data>) -> ValXs<'a, Val> {
    let steps = cx.data().steps_left;
    match steps.get() {
        0 => bome(Err(Error::str(STEPS_USED_UP))),
        left => {
            steps.set(left - 1);
            bome(Ok(Val::Null))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(code: &str, input: Value) -> Result<Vec<Value>, String> {
        let program = Program::compile(code).map_err(|e| e.to_string())?;
        program.run(&input.to_string(), &json!({"x-a": "1"}), &json!({}))
    }

    #[test]
    fn maps_and_keeps_big_numbers() {
        assert_eq!(run(".a | ascii_upcase", json!({"a": "x"})), Ok(vec![json!("X")]));
        assert_eq!(run("$headers[\"x-a\"], ([range(3)] | add)", json!(1)), Ok(vec![json!("1"), json!(3)]));
        let big = "12345678901234567890123";
        let program = Program::compile(".id | tostring").unwrap();
        let input = format!("{{\"id\":{big}}}");
        assert_eq!(program.run(&input, &json!({}), &json!({})), Ok(vec![json!(big)]));
        assert_eq!(run("[.. | numbers] | length", json!([1, [2, {"a": 3}]])), Ok(vec![json!(3)]));
        assert_eq!(run("walk(if type == \"number\" then . + 1 else . end)", json!([1])), Ok(vec![json!([2])]));
        assert_eq!(run("[range(10; 0; -3)]", json!(null)), Ok(vec![json!([10, 7, 4, 1])]));
    }

    #[test]
    fn compile_errors_have_a_place() {
        for (code, line, column) in
            [(".a |", 1, 5), (".a\n| nope(1)", 2, 3), ("def f: f; f", 1, 8), ("now", 1, 1), ("$ENV", 1, 1)]
        {
            let error = Program::compile(code).err().unwrap_or_else(|| panic!("{code} compiles"));
            assert_eq!((error.line, error.column), (line, column), "{code}: {error}");
        }
    }

    #[test]
    fn runs_out_of_steps_instead_of_time() {
        for code in [
            "last(repeat(1))",
            "[range(1e12)] | length",
            "last(range(0; infinite))",
            "[limit(1e9; repeat(.))] | length",
            "until(false; .)",
        ] {
            let error = run(code, json!({})).unwrap_err();
            assert_eq!(error, STEPS_USED_UP, "{code}");
        }
        assert!(run(".[]", json!(vec![0; OUTPUTS_MAX + 1])).unwrap_err().contains("outputs"));
    }

    #[test]
    fn errors_show_the_program_not_the_input() {
        let error = run(".a.name", json!({"a": "secret words"})).unwrap_err();
        assert!(error.contains("cannot index") && !error.contains("secret"), "{error}");
        assert_eq!(run("error(\"no id\")", json!({})).unwrap_err(), "no id");
        assert!(!run("error(.a)", json!({"a": "secret words"})).unwrap_err().contains("secret"));
    }
}
