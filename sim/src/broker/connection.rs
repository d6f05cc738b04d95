//! One client's socket: MQTT packets in and out. Must never hold the hub's lock across an await.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    Error, QoS,
    v5::{
        ConnAck, ConnAckProperties, Connect, ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, PingResp,
        PubAck, Publish, SubAck, SubscribeReasonCode, UnsubAck, UnsubAckReason,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    hub::{Connected, Hub, NextDelivery},
    lock,
};

/// How long a client may take to say CONNECT.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Under the fault "acks reversed": so many are withheld, or so long.
const ACKS_WITHHELD: usize = 4;
const ACKS_WITHHELD_FOR: Duration = Duration::from_millis(15);

pub async fn run(socket: impl AsyncRead + AsyncWrite + Unpin, hub: Arc<Mutex<Hub>>) {
    let packet_bytes_max = lock(&hub).options.packet_bytes_max;
    let mut wire = Wire { socket, incoming: BytesMut::with_capacity(4096), packet_bytes_max };
    let Ok(Some(Packet::Connect(connect, will, _))) = timeout(CONNECT_WITHIN, wire.read()).await else { return };
    if !lock(&hub).accepting {
        return;
    }
    if lock(&hub).faults().refuse_connections {
        let refusal = ConnAck { session_present: false, code: ConnectReturnCode::NotAuthorized, properties: None };
        let _ = wire.write(&[Packet::ConnAck(refusal)]).await;
        return;
    }
    let (connected, session_present) = lock(&hub).connect(&connect, will);
    let cut = Arc::clone(&connected.cut);
    let mut client = Client { wire, hub: Arc::clone(&hub), connect, connected, withheld: Vec::new() };
    let goodbye = tokio::select! {
        ended = client.serve(session_present) => matches!(ended, Ended::Goodbye),
        () = cut.notified() => false,
    };
    lock(&hub).disconnect(&client.connect.client_id, client.connected.number, goodbye);
}

struct Wire<S> {
    socket: S,
    incoming: BytesMut,
    packet_bytes_max: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// The next packet; `None` when the client is gone or talks nonsense. Safe to cancel.
    async fn read(&mut self) -> Option<Packet> {
        loop {
            // The codec cannot read a DISCONNECT without a reason, which is the usual one.
            if self.incoming.starts_with(&[0xE0, 0]) {
                return Some(Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)));
            }
            match Packet::read(&mut self.incoming, Some(self.packet_bytes_max)) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(_) => return None,
            }
            match self.socket.read_buf(&mut self.incoming).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn write(&mut self, packets: &[Packet]) -> std::io::Result<()> {
        let mut outgoing = BytesMut::new();
        for packet in packets {
            packet.write(&mut outgoing, None).map_err(std::io::Error::other)?;
        }
        self.socket.write_all(&outgoing).await?;
        self.socket.flush().await
    }
}

struct Client<S> {
    wire: Wire<S>,
    hub: Arc<Mutex<Hub>>,
    connect: Connect,
    connected: Connected,
    /// PUBACKs under the fault "acks reversed".
    withheld: Vec<u16>,
}

enum Ended {
    Goodbye,
    Lost,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn serve(&mut self, session_present: bool) -> Ended {
        if self.wire.write(&[Packet::ConnAck(self.connack(session_present))]).await.is_err() {
            return Ended::Lost;
        }
        let keep_alive = match self.connect.keep_alive {
            0 => Duration::from_secs(86_400),
            seconds => Duration::from_secs(seconds.into()).mul_f32(1.5),
        };
        let mut heard = Instant::now();
        loop {
            if lock(&self.hub).faults().stalled {
                self.connected.wake.notified().await;
                continue;
            }
            let delivery = lock(&self.hub).next_delivery(&self.connect.client_id, self.connected.number);
            let mut wake_at = heard + keep_alive;
            match delivery {
                NextDelivery::Now(publish) => {
                    if self.wire.write(&[Packet::Publish(*publish)]).await.is_err() {
                        return Ended::Lost;
                    }
                    continue;
                }
                NextDelivery::At(due) => wake_at = wake_at.min(due),
                NextDelivery::None => {}
            }
            if !self.withheld.is_empty() {
                wake_at = wake_at.min(Instant::now() + ACKS_WITHHELD_FOR);
            }
            let wake = Arc::clone(&self.connected.wake);
            let packet = tokio::select! {
                packet = self.wire.read() => packet,
                () = wake.notified() => continue,
                () = tokio::time::sleep_until(wake_at.into()) => {
                    if heard.elapsed() >= keep_alive || self.release_withheld().await.is_err() {
                        return Ended::Lost;
                    }
                    continue;
                }
            };
            heard = Instant::now();
            match packet {
                None => return Ended::Lost,
                Some(Packet::Disconnect(goodbye)) => {
                    let with_will = goodbye.reason_code == DisconnectReasonCode::DisconnectWithWillMessage;
                    return if with_will { Ended::Lost } else { Ended::Goodbye };
                }
                Some(packet) => {
                    if self.handle(packet).await.is_err() {
                        return Ended::Lost;
                    }
                }
            }
        }
    }

    async fn handle(&mut self, packet: Packet) -> std::io::Result<()> {
        let (client, number) = (self.connect.client_id.clone(), self.connected.number);
        match packet {
            Packet::Publish(publish) => self.published(publish).await,
            Packet::PubAck(ack) => {
                lock(&self.hub).acknowledged(&client, number, ack.pkid);
                Ok(())
            }
            Packet::Subscribe(subscribe) => {
                let granted = |qos| if qos == QoS::AtMostOnce { qos } else { QoS::AtLeastOnce };
                let return_codes =
                    subscribe.filters.iter().map(|f| SubscribeReasonCode::Success(granted(f.qos))).collect();
                let ack = SubAck { pkid: subscribe.pkid, return_codes, properties: None };
                self.wire.write(&[Packet::SubAck(ack)]).await?;
                lock(&self.hub).subscribe(&client, number, &subscribe.filters);
                Ok(())
            }
            Packet::Unsubscribe(unsubscribe) => {
                lock(&self.hub).unsubscribe(&client, number, &unsubscribe.filters);
                let reasons = vec![UnsubAckReason::Success; unsubscribe.filters.len()];
                self.wire
                    .write(&[Packet::UnsubAck(UnsubAck { pkid: unsubscribe.pkid, reasons, properties: None })])
                    .await
            }
            Packet::PingReq(_) => self.wire.write(&[Packet::PingResp(PingResp)]).await,
            other => Err(std::io::Error::other(format!("not expected from a client: {other:?}"))),
        }
    }

    async fn published(&mut self, publish: Publish) -> std::io::Result<()> {
        let (faults, receive_maximum) = {
            let mut hub = lock(&self.hub);
            hub.published(&publish);
            (hub.faults().clone(), usize::from(hub.options.receive_maximum))
        };
        match publish.qos {
            QoS::AtMostOnce => Ok(()),
            QoS::ExactlyOnce => Err(std::io::Error::other("QoS 2 is not supported")),
            QoS::AtLeastOnce => {
                self.withheld.push(publish.pkid);
                if self.withheld.len() > receive_maximum {
                    lock(&self.hub).counters.receive_maximum_exceeded += 1;
                    let reason = Disconnect::new(DisconnectReasonCode::ReceiveMaximumExceeded);
                    let _ = self.wire.write(&[Packet::Disconnect(reason)]).await;
                    return Err(std::io::Error::other("receive maximum exceeded"));
                }
                let wait = faults.acks_swallowed || (faults.acks_reversed && self.withheld.len() < ACKS_WITHHELD);
                if wait { Ok(()) } else { self.release_withheld().await }
            }
        }
    }

    async fn release_withheld(&mut self) -> std::io::Result<()> {
        if lock(&self.hub).faults().acks_swallowed {
            return Ok(());
        }
        let acks: Vec<_> = self.withheld.drain(..).rev().map(|id| Packet::PubAck(PubAck::new(id, None))).collect();
        self.wire.write(&acks).await
    }

    fn connack(&self, session_present: bool) -> ConnAck {
        let (receive_maximum, packet_bytes_max) = {
            let hub = lock(&self.hub);
            (hub.options.receive_maximum, hub.options.packet_bytes_max)
        };
        let properties = ConnAckProperties {
            session_expiry_interval: None,
            receive_max: Some(receive_maximum),
            max_qos: Some(1),
            retain_available: None,
            max_packet_size: Some(packet_bytes_max),
            assigned_client_identifier: None,
            topic_alias_max: None,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: None,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        };
        ConnAck { session_present, code: ConnectReturnCode::Success, properties: Some(properties) }
    }
}
