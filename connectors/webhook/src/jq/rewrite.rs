//! A program's tree, changed before it is compiled: steps are counted, recursion is refused, literals are noted.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Part, Path};

use super::{CompileError, TICK};

/// Takes the step's value, which nobody needs.
const TICK_VARIABLE: &str = "$!tick";

/// Walks a program, puts a step before the body of each definition, and collects its string literals.
pub struct Rewrite<'c, 'l> {
    code: &'c str,
    refuse_recursion: bool,
    /// Definitions that the walk is inside of.
    open: Vec<(&'c str, usize)>,
    literals: &'l mut Vec<String>,
}

pub type Rewritten<'c, T = Term<&'c str>> = Result<T, CompileError>;

impl<'c, 'l> Rewrite<'c, 'l> {
    /// For a mapping, whose definitions may not call themselves: the stack could overflow.
    pub fn of_program(code: &'c str, literals: &'l mut Vec<String>) -> Self {
        Self { code, refuse_recursion: true, open: Vec::new(), literals }
    }

    /// For jq's own definitions, whose recursion is in tail position.
    pub fn of_standard_definitions(literals: &'l mut Vec<String>) -> Self {
        Self { code: "", refuse_recursion: false, open: Vec::new(), literals }
    }

    pub fn def(&mut self, def: Def<&'c str>) -> Rewritten<'c, Def<&'c str>> {
        let Def { name, args, body } = def;
        self.open.push((name, args.len()));
        let body = self.term(body);
        self.open.pop();
        let tick = Box::new(Term::Call(TICK, Vec::new()));
        let body = Term::BinOp(tick, BinaryOp::Pipe(Some(Pattern::Var(TICK_VARIABLE))), Box::new(body?));
        Ok(Def { name, args, body })
    }

    pub fn term(&mut self, term: Term<&'c str>) -> Rewritten<'c> {
        Ok(match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => term,
            Term::Str(format, parts) => Term::Str(format, self.string(parts)?),
            Term::Arr(inner) => Term::Arr(self.option(inner)?),
            Term::Obj(entries) => Term::Obj(
                entries
                    .into_iter()
                    .map(|(key, value)| Ok((self.term(key)?, value.map(|value| self.term(value)).transpose()?)))
                    .collect::<Result<_, CompileError>>()?,
            ),
            Term::Neg(inner) => Term::Neg(self.boxed(inner)?),
            Term::BinOp(left, op, right) => {
                let op = match op {
                    BinaryOp::Pipe(Some(pattern)) => BinaryOp::Pipe(Some(self.pattern(pattern)?)),
                    op => op,
                };
                Term::BinOp(self.boxed(left)?, op, self.boxed(right)?)
            }
            Term::Label(name, inner) => Term::Label(name, self.boxed(inner)?),
            Term::Fold(name, over, pattern, args) => {
                Term::Fold(name, self.boxed(over)?, self.pattern(pattern)?, self.list(args)?)
            }
            Term::TryCatch(inner, catch) => Term::TryCatch(self.boxed(inner)?, self.option(catch)?),
            Term::IfThenElse(branches, otherwise) => Term::IfThenElse(
                branches
                    .into_iter()
                    .map(|(condition, then)| Ok((self.term(condition)?, self.term(then)?)))
                    .collect::<Result<_, CompileError>>()?,
                self.option(otherwise)?,
            ),
            Term::Def(defs, inner) => {
                let defs = defs.into_iter().map(|def| self.def(def)).collect::<Result<_, _>>()?;
                Term::Def(defs, self.boxed(inner)?)
            }
            Term::Call(name, args) => {
                if self.refuse_recursion && self.open.contains(&(name, args.len())) {
                    let message = format!("'{name}' calls itself; use recurse, reduce or map instead");
                    return Err(CompileError::at(self.code, name, message));
                }
                Term::Call(name, self.list(args)?)
            }
            Term::Path(head, path) => Term::Path(self.boxed(head)?, self.path(path)?),
        })
    }

    #[expect(clippy::boxed_local, reason = "a program is a tree of boxes")]
    fn boxed(&mut self, term: Box<Term<&'c str>>) -> Rewritten<'c, Box<Term<&'c str>>> {
        Ok(Box::new(self.term(*term)?))
    }

    fn option(&mut self, term: Option<Box<Term<&'c str>>>) -> Rewritten<'c, Option<Box<Term<&'c str>>>> {
        term.map(|term| self.boxed(term)).transpose()
    }

    fn list(&mut self, terms: Vec<Term<&'c str>>) -> Rewritten<'c, Vec<Term<&'c str>>> {
        terms.into_iter().map(|term| self.term(term)).collect()
    }

    fn string(
        &mut self,
        parts: Vec<StrPart<&'c str, Term<&'c str>>>,
    ) -> Rewritten<'c, Vec<StrPart<&'c str, Term<&'c str>>>> {
        parts
            .into_iter()
            .map(|part| match part {
                StrPart::Term(term) => Ok(StrPart::Term(self.term(term)?)),
                StrPart::Str(text) => {
                    self.literals.push(text.to_owned());
                    Ok(StrPart::Str(text))
                }
                StrPart::Char(c) => Ok(StrPart::Char(c)),
            })
            .collect()
    }

    fn pattern(&mut self, pattern: Pattern<&'c str>) -> Rewritten<'c, Pattern<&'c str>> {
        Ok(match pattern {
            Pattern::Var(name) => Pattern::Var(name),
            Pattern::Arr(inner) => {
                Pattern::Arr(inner.into_iter().map(|pattern| self.pattern(pattern)).collect::<Result<_, _>>()?)
            }
            Pattern::Obj(entries) => Pattern::Obj(
                entries
                    .into_iter()
                    .map(|(key, pattern)| Ok((self.term(key)?, self.pattern(pattern)?)))
                    .collect::<Result<_, CompileError>>()?,
            ),
        })
    }

    fn path(&mut self, path: Path<Term<&'c str>>) -> Rewritten<'c, Path<Term<&'c str>>> {
        let parts = path.0.into_iter().map(|(part, opt)| {
            let part = match part {
                Part::Index(index) => Part::Index(self.term(index)?),
                Part::Range(from, to) => {
                    Part::Range(from.map(|from| self.term(from)).transpose()?, to.map(|to| self.term(to)).transpose()?)
                }
            };
            Ok((part, opt))
        });
        Ok(Path(parts.collect::<Result<_, CompileError>>()?))
    }
}
