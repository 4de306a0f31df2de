//! What an event says happened, on which family of channel, and in which direction.

use crate::open_enum::open_enum;

open_enum! {
    /// What happened.
    Kind {
        MessageCreated = "message.created",
        MessageEdited = "message.edited",
        MessageDeleted = "message.deleted",
        ReactionAdded = "reaction.added",
        ReactionRemoved = "reaction.removed",
        ReceiptDelivered = "receipt.delivered",
        ReceiptRead = "receipt.read",
        ReceiptFailed = "receipt.failed",
        /// A button, menu or command was used.
        Postback = "postback",
        FormSubmitted = "form.submitted",
        ReviewCreated = "review.created",
        ReviewUpdated = "review.updated",
        Rating = "rating",
        CallRinging = "call.ringing",
        CallAnswered = "call.answered",
        CallEnded = "call.ended",
        CallMissed = "call.missed",
        CallVoicemail = "call.voicemail",
        CallRecording = "call.recording",
        CallTranscript = "call.transcript",
        /// A mail that reports that another could not be delivered (DSN).
        Bounce = "bounce",
        /// A mail sent by a machine in answer to one of ours (out of office, auto-responder).
        AutoReply = "auto_reply",
        ParticipantJoined = "participant.joined",
        ParticipantLeft = "participant.left",
        /// The customer came by an advertisement, a link or a share.
        Referral = "referral",
        AttachmentStored = "attachment.stored",
        AttachmentFailed = "attachment.failed",
        ConnectorHealth = "connector.health",
        /// A source that cannot be replayed was not watched from `from` to `to`.
        ConnectorGap = "connector.gap",
        /// Somebody's content is to be erased, wherever consumers keep it: `erasure` names it.
        ErasureRequested = "erasure.requested",
        /// The provider's type is not known or not modelled; `unsupported` names it and carries its raw part.
        Unsupported = "unsupported",
    }
}

open_enum! {
    /// Family of channel.
    Channel {
        Email = "email",
        Chat = "chat",
        Sms = "sms",
        Social = "social",
        Voice = "voice",
        Form = "form",
        Review = "review",
        Forum = "forum",
        /// Inlet itself: health and gap events.
        System = "system",
    }
}

open_enum! {
    /// Who acted, seen from the business.
    Direction {
        /// From the customer.
        Inbound = "inbound",
        /// Sent by the business itself, seen again in the provider's feed.
        OutboundEcho = "outbound_echo",
        /// Between people of the business, or by the system.
        Internal = "internal",
    }
}
