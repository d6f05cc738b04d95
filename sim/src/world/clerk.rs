//! The clerk's thread, as `runtime::clerk` runs it: reports over the log and configuration, beside everything else. Owns how long it
//! takes; must never hold anything up. What else a command asks of the node itself no simulated operator asks for.

use std::time::Duration;

use latchd::{
    config::trial::PutFile,
    domain::event::Refusal,
    gateway::{
        desk::{Answer, Answered, Errand},
        reports::{self, Places, Spans},
        uplink::Input,
    },
    wire::{canonical::unhex32, command::CommandBody},
};
use serde_json::json;

use super::{World, configuration::End, node::NodeEvent};
use crate::cloud::Wish;

impl World {
    pub(super) fn query_reports(&mut self) {
        let operator = ["op-1", "op-2", "op-3", "op-5", "op-4", "op-6", "op-7", "op-8"][self.rng.index(8)];
        let order = if self.rng.permille(500) { "oldest_first" } else { "newest_first" };
        let limit = [5, 40, 1_000][self.rng.index(3)];
        let mut args = json!({ "order": order, "limit": limit });
        if self.rng.permille(400) {
            args["from"] = json!(self.wall().saturating_sub(self.rng.millis(100, 15_000)));
        }
        let wish = Wish { lifetime: self.rng.millis(1_000, 20_000), ..Wish::new(operator, "reports.query", args) };
        let wall = self.wall();
        let (jti, message) = self.cloud.command(wall, &wish);
        self.line(format_args!("cloud: {} {} by {operator} {jti}", wish.cmd, wish.args));
        self.oracle.errand_wished(&jti, operator, "reports.query");
        self.send_command(jti, message);
    }

    pub(super) fn errand(&mut self, errand: Box<Errand>) {
        match errand.body {
            CommandBody::ReportsQuery(_) => self.oracle.report_asked(&errand.operator, &errand.scope),
            CommandBody::ConfigurationPut(_) | CommandBody::ConfigurationConfirm(_) => {
                self.oracle.configuration_asked(&errand.operator);
            }
            _ => {}
        }
        let takes = self.rng.micros(200, 40_000);
        self.post_node(takes, NodeEvent::Errand(errand));
    }

    pub(super) fn carry_out(&mut self, errand: &Errand) {
        let at = self.node_now().wall;
        let Some(node) = &self.node else { return };
        let (mut begins_trial, mut confirmed) = (false, None);
        let answered = match &errand.body {
            CommandBody::ReportsQuery(args) => {
                let (log_id, places) = (node.ledger.ledger.head().log_id.clone(), Places::of(&self.site.topology()));
                let scope = self.shim.report_scope(&errand.scope);
                let page = reports::page(&node.ledger.reader, &log_id, &places, &scope, args, &mut Spans::default());
                match page {
                    Ok(page) => {
                        let page = self.shim.report_page(page);
                        self.line(format_args!(
                            "clerk: {} events of {} to {}",
                            page.count, page.newest, errand.operator
                        ));
                        self.count("reports");
                        self.oracle.reported(&self.site, errand, args, &page);
                        Answered::Done(Some(json!({ "report": page })))
                    }
                    Err(error) => Answered::Failed(json!({ "message": error.to_string() })),
                }
            }
            CommandBody::ConfigurationPut(args) => {
                let file = PutFile {
                    toml: args.toml.clone(),
                    operator: errand.operator.clone(),
                    issuer: errand.issuer.clone(),
                    jti: errand.jti.clone(),
                    kid: Some(errand.kid.clone()),
                };
                let within = Duration::from_secs(u64::from(args.confirm_within_s));
                let expected = args.expect_sha256.as_deref().and_then(unhex32);
                let answered = self.put_configuration(file, expected, within);
                begins_trial = matches!(answered, Answered::Scheduled(_));
                answered
            }
            CommandBody::ConfigurationConfirm(args) => {
                let (answered, file) = self.confirm_configuration(unhex32(&args.sha256).unwrap_or_default());
                confirmed = file;
                answered
            }
            _ => Answered::Refused(Refusal::Unsupported, json!({ "message": "not simulated" })),
        };
        self.line(format_args!("clerk: {answered:.60?} to {}", errand.jti));
        self.uplink(Input::Answer(Answer { ticket: errand.ticket, at, answered }));
        if begins_trial {
            self.begin_anew(End::Trial);
        }
        if let Some(file) = confirmed {
            self.confirmed(&file, errand.operator.clone(), errand.jti.clone());
        }
    }
}
