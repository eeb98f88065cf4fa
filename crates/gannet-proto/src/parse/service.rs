//! Services and their methods.

use super::{Parsed, Parser, step};
use crate::tree::{Method, MethodType, Service};

impl Parser<'_, '_> {
    pub(super) fn service(&mut self) -> Parsed {
        let index = self.file.services.len();
        self.file.services.push(Service::default());
        self.located(&[6, step(index)], |parser, location| {
            parser.next();
            let name = parser.located(&[1], |parser, _| parser.name("the service's name"))?;
            parser.file.services[index].name = name;
            parser.expect_end_of_declaration("{", location)?;
            parser.block("a service", |parser| match parser.text() {
                "option" => parser.located(&[3], |parser, _| {
                    let option = parser.option_statement()?;
                    parser.file.services[index].options.declared.push(option);
                    Ok(())
                }),
                _ => {
                    let at = step(parser.file.services[index].methods.len());
                    parser.located(&[2, at], |parser, location| {
                        let method = parser.method(location)?;
                        parser.file.services[index].methods.push(method);
                        Ok(())
                    })
                }
            })
        })
    }

    fn method(&mut self, location: usize) -> Parsed<Method> {
        if !self.take("rpc") {
            return self.expected("'rpc' or 'option'");
        }
        let name = self.located(&[1], |parser, _| parser.name("the method's name"))?;
        let input = self.method_type(5, 2)?;
        self.expect("returns")?;
        let output = self.method_type(6, 3)?;
        let mut method = Method { name, input, output, ..Method::default() };
        if !self.looking_at("{") {
            self.expect_end_of_declaration(";", location)?;
            return Ok(method);
        }
        self.end_of_declaration("{", Some(location));
        method.options.is_present = true;
        self.block("a method", |parser| {
            parser.located(&[4], |parser, _| {
                let option = parser.option_statement()?;
                method.options.declared.push(option);
                Ok(())
            })
        })?;
        Ok(method)
    }

    fn method_type(&mut self, stream: i32, ty: i32) -> Parsed<MethodType> {
        self.expect("(")?;
        let streams = self.looking_at("stream");
        if streams {
            self.located(&[stream], |parser, _| {
                parser.next();
                Ok(())
            })?;
        }
        let name = self.located(&[ty], |parser, _| parser.type_name())?;
        self.expect(")")?;
        Ok(MethodType { name, streams, message: None })
    }
}
