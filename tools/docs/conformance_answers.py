"""PIXIT: the questions and answers of docs/conformance.md; what stands in braces is a fact of the code.

``conformance_pixit.py`` has the facts.

>>> ANSWERS["Control"][4]
('Repetition', 'none: a command is sent to the meter once')
"""

from __future__ import annotations

from collections.abc import Mapping

# fmt: off
ANSWERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Association": (
        ("Associations of one IED", "{associations} (Services/DynAssociation), all on one server"),
        ("A further association", "its TCP connection is accepted and closed at once; the others stay"),
        ("Where it listens",
         "IP and MMS-Port of the ConnectedAP, one endpoint for each IED; over TLS those of the second access "
         "point (ServerAt), if there is one. The plain port listens on loopback unless "
         "`METER61850_MMS_PLAIN_BIND` opens it"),
        ("Largest MMS PDU, outstanding requests, nesting",
         "{pdu:,} octets, {outstanding}, {nesting}; less if the client asks for less"),
        ("ACSE authentication", "none"),
        ("Associations of one client address",
         "{per_address} and {per_ied} for each IED; more are closed at once, and counted"),
        ("Length of names", "{name_length} (Services/nameLength); domain and item at most {name_limit} each"),
        ("Associations when the configuration changes",
         "stay, with their model; a new association has the new model, and the {associations} of the new "
         "configuration are counted without the older ones. "
         "`METER61850_MMS_DRAIN_SECONDS` limits the time: {drain}"),
    ),
    "Security (IEC 62351-3)": (
        ("Transport security",
         "TLS 1.2 and 1.3, a client certificate required, when `METER61850_MMS_TLS_CERT` is set; no "
         "renegotiation, no compression, no resumption"),
        ("Cipher suites of TLS 1.2", "`METER61850_MMS_TLS_CIPHERS`; ECDHE with AES-GCM or ChaCha20-Poly1305"),
        ("Certificates", "X.509 in PEM, issued directly by a CA of `METER61850_MMS_TLS_CA`"),
        ("Certificates of the server",
         "ECDSA and RSA at once, when `METER61850_MMS_TLS_CERT` has both; the client's cipher suites and "
         "signature algorithms decide"),
        ("A refusal in the handshake",
         "is sent as an alert: unknown_ca, certificate_expired, certificate_revoked; without a certificate "
         "certificate_required (TLS 1.3) or handshake_failure (1.2); protocol_version; handshake_failure "
         "without a common cipher suite; internal_error for too many handshakes; access_denied for an "
         "address that may not connect, or has too many associations"),
        ("A refusal after the handshake",
         "(no rights, or no association is free) ends the connection with close_notify"),
        ("Revocation",
         "CRL in PEM, signed by these CAs, read every {look:g} s; a revoked client's associations "
         "end. OCSP: no. After the nextUpdate of a list no new client is accepted, and no association ends"),
        ("A certificate that expires during an association",
         "ends nothing; the client cannot associate again"),
        ("Change of keys within an association",
         "none: the client determines how long an association lasts"),
        ("Rights of a client",
         "observe or control, by the certificate's common name (`METER61850_MMS_CLIENTS`) and by address; on "
         "the plain port control from loopback, else observe (`METER61850_MMS_PLAIN_RIGHTS`)"),
        ("What an observer may not do",
         "operate: 20, no-access-authority"),
        ("A handshake", "has {handshake:g} s; {shakes} of one address, {all_shakes} in all at a time"),
    ),
    "Model and data sets": (
        ("Meters of one IED", "{meters}; `METER61850_MAX_METERS_PER_IED` changes it"),
        ("Members of a data set", "at most {members}, configured or made by a client"),
        ("Dynamic data sets",
         "{dynamic} for each association (`@name`), which end with it; none in a logical device and none of "
         "the whole server: DefineNamedVariableList is answered object-access-denied"),
        ("configRev (LLN0.NamPlt), configVersion (IED)",
         "change with the tables of the model and with each setting that is in the types: control model, "
         "operate limit, deadbands, ranges, nominal values; configRev of a meter with an exact profile also "
         "with its quantities. valRev and paramRev, which are optional, are not there"),
        ("Can data be written?",
         "no: SetDataValues is answered object-access-denied, whatever the functional constraint"),
        ("Deadband",
         "mag follows instMag (no event; t is its time) when it has moved by more than db × dbRef / 100,000: "
         "{deadband} % of the nominal value (`METER61850_MMS_DEADBAND`; 0: every change is an event)"),
        ("Range",
         "for {range} percent (`METER61850_MMS_RANGE`; hhLim and llLim {outer:g} times as far). A change "
         "is an event. Beyond min or max q is questionable, outOfRange"),
        ("limDb of rangeC",
         "is not there, it is optional: a value that swings around a limit is an event each time"),
    ),
    "Requests that the guard answers": (
        ("Services",
         "{services}, conclude. Any other confirmed service, files and journals among them: reject, "
         "unrecognized-service. Initiate lists these services only"),
        ("Variables by address, other named variable lists than `@name`, delete of all lists of a scope, "
         "SetDataSetValues",
         "error, class access: object-access-unsupported or object-access-denied"),
        ("Write with a command (Oper, SBOw, Cancel) among several variables",
         "object-access-unsupported for each variable; nothing is operated. Parts of a command: "
         "object-access-denied"),
        ("A value beyond the type of its attribute",
         "object-value-invalid, and nothing of the Write is stored: ctlNum over 255, ResvTms over 32,767, "
         "RptID and DatSet over 129 characters, OptFlds of other than 10 bits, TrgOps of other than 6 bits, "
         "EntryID of other than 8 octets. Another type: type-inconsistent"),
        ("DatSet of a BRCB", "`@name` is object-value-invalid: the block outlives the association"),
        ("ResvTms of a block that waits for another client",
         "temporarily-unavailable for each variable of the Write, and nothing is stored"),
        ("Cancel with another ctlNum than SBOw had", "object-access-denied; the selection stays"),
        ("Conclude", "is answered, and the association ended"),
        ("What the library leaves without an answer", "error, class service: other"),
        ("A PDU that is no confirmed request, or is malformed", "reject, pdu-error, without invokeID"),
        ("A message that is malformed below MMS, or too long",
         "ends the association; {message:,} octets are the most"),
        ("Transport class", "0; for another, without 0 as an alternative, the connection is refused (DR)"),
        ("TSEL, SSEL, PSEL", "are not compared: many clients send none, and an endpoint has one server"),
    ),
    "Reports": (
        ("Instances of each block", "{instances}; `METER61850_REPORT_INSTANCES`, 1 to {max_instances}"),
        ("Clients of the blocks (ClientLN)",
         "those of `METER61850_REPORT_CLIENTS`, in the SCD and not in the CID: no block is reserved by "
         "configuration. Resv is false and ResvTms 0 until a client reserves the block, and any client may"),
        ("ConfRev",
         "counts changes of the members (7-2): logical devices that are made or leave, their names and "
         "quantities. What a member's type says, such as the control model or a deadband, changes configRev"),
        ("What a client may write",
         "{report_settings}, while the block is off and reserved by this client. Another datSet, rptID, "
         "bufTime, trgOps or intgPd empties the buffer of a BRCB; other optFields do not"),
        ("A block that no client has reserved",
         "takes Resv or ResvTms only, else object-access-denied: Edition 2.1 has no implicit reservation"),
        ("A block that is enabled, or reserved by another client",
         "any Write is temporarily-unavailable; but its own client may write GI, and RptEna false"),
        ("A report that is longer than the client's PDU", "comes in segments (SubSqNum, MoreSegmentsFollow)"),
        ("One event", "is one MQTT message: its values are reported together"),
        ("Time for which events are collected",
         "{gather:g} ms, and bufTm; a second change of a member within bufTm sends the waiting events"),
        ("Initial values", "raise no event, at the start and with a new configuration"),
        ("Buffer of a BRCB",
         "{full_entries} entries with all members of the IED's largest buffered data set at least: "
         "{report_buffer:,} octets for each instance with 50 meters"),
        ("Begin of buffering", "soon after the CID, without a client (`METER61850_MMS_BEGIN_AT_ONCE`)"),
        ("Buffer of a URCB", "{urcb_buffer:,} octets, for data that waits for the client's socket"),
        ("Buffer overflow",
         "the oldest entries are dropped; BufOvfl is true in the next report, and in the first one after the "
         "block was enabled without an EntryID: what was before it is not known"),
        ("EntryID", "8 octets; if a client writes its last EntryID, reports continue with the next entry"),
        ("ResvTms",
         "yes: how long a BRCB waits for its client after a lost association, for the same IP address, or "
         "over TLS the same name in the certificate. The client writes ResvTms again; before that everything "
         "else is object-access-denied"),
        ("A block that a client left with its own settings",
         "keeps TrgOps, OptFlds, RptID, BufTm, IntgPd and the raised ConfRev, for the next client to write; "
         "a URCB that was left on `@name` is enabled again after DatSet has been written"),
        ("Owner", "not served"),
        ("Place of the buffers",
         "the memory of the server of a configuration, which all its associations share"),
        ("Buffers when the configuration changes",
         "an existing association keeps its buffers; the new configuration begins with empty ones"),
        ("Integrity period", "checked every {tick:g} ms"),
    ),
    "Logs": (
        ("LCB, QueryLogByTime, QueryLogAfter",
         "none: no logical node has a log, and ReadJournal, InitializeJournal and ReportJournalStatus are "
         "rejected, unrecognized-service"),
        ("Why not",
         "the history is in the bridge's database. libiec61850 asks a log for its entries with a function "
         "that has to answer at once, in the thread that serves all clients: a query of a month would stop "
         "values, reports and controls of all IEDs. The guard would have to answer the journal services "
         "itself, from the database by way of the broker, with a copy of them in our own code"),
        ("What replaces it",
         "buffered reports for gaps; the web's API, `meter61850 readings`, `meter61850 commands` and SQL for "
         "the past ([scada.md](scada.md#the-past))"),
    ),
    "Control": (
        ("Meaning of a positive termination", "the meter answered done and its relay shows the position"),
        ("With normal security", "the response to Oper waits for the same"),
        ("Time for the meter's answer",
         "{limit:g} s (`METER61850_MMS_OPERATE_LIMIT`, the CID's operTimeout): the command expires after "
         "{expiry:g} s, the operate ends negatively after {end:g} s"),
        ("sboTimeout, operTimeout", "{select_timeout:,} ms, {operate_timeout:,} ms"),
        ("Repetition", "none: a command is sent to the meter once"),
        ("operTm", "no type has it: a request with one is refused, not-supported"),
        ("Cancel", "must have ctlNum, origin and Test of its select: else it is refused, "
                   "inconsistent-parameters, and the selection stays"),
        ("Test", "a test command never moves a relay: it is refused, blocked-by-mode"),
        ("Check", "synchrocheck is ignored; interlocking is always checked, whatever the bit"),
        ("origin", "is sent with the command and is in the ledger; default orIdent: client's address"),
        ("origin and ctlNum of the status",
         "of the last operate that was accepted, by any client; a select, a cancel and a refused request "
         "change neither. With normal security it is accepted when the meter has done it"),
        ("stSeld", "follows select, operate, cancel, timeout and a lost association within 10 ms"),
        ("AddCauses", "{causes}; the MMS stack itself sends object-not-selected and similar ones"),
    ),
    "Quality and time": (
        ("t",
         "the time at which the meter read its sensor, or its relay moved, in ms; for the gateway's "
              "own state the time of its detection"),
        ("Time quality",
         "{synchronized:#04x}: leap seconds known, {bits} bits of accuracy; {unsynchronized:#04x}, clock not "
         "synchronized, if the meter's birth or the reading has this, or the gateway's host"),
        ("The gateway's clock", "the clock of its operating system (NTP, PTP)"),
        ("A meter that is silent",
         "all values, including positions: questionable, oldData after {stale:g} reading intervals, or at "
         "its last will"),
        ("A quantity that the sensor did not measure",
         "invalid, failure; only invalid if the meter does not have this quantity"),
        ("Bits that are never set",
         "overflow, badReference, oscillatory, inconsistent, inaccurate, substituted, operatorBlocked"),
    ),
    "When something fails": (
        ("A meter goes offline",
         "its data: questionable, oldData; PhyHealth Alarm; an operate is refused, blocked-by-health"),
        ("The MQTT broker goes away",
         "all meters' data: questionable, oldData; LLN0.Health Alarm; every operate is refused, "
         "blocked-by-health. Associations stay"),
        ("The MMS bridge restarts",
         "associations and report buffers end; values return from retained messages"),
        ("Another program uses an endpoint",
         "the bridge tries again every {retry:g} s; the other IEDs are served"),
    ),
}
"""Section → question and answer; what stands in braces is a fact."""
# fmt: on

NOT_SUPPORTED = """
## Not supported

GOOSE, sampled values, logs (see above), setting groups, substitution, time-activated operate, authentication
in the association and roles in certificates (IEC 62351-4, -8), time synchronization over SNTP, writing of
data other than control blocks and controls.

File services are off, because libiec61850 answers FileRead with memory of the server after a FileOpen whose
position is beyond the end of the file. `meter61850 scl export`, the web's API and the broker provide the SCD
and the CIDs.
"""
