"""Test cases by the groups of IEC 61850-10, and the test of ours behind each, for docs/conformance.md.

The groups have the names of part 10 (Ass, Srv, Dset, Rp, Br, Ctl, Tm, Ft; ``N`` marks a negative case). The
cases are in our words and without the standard's numbers: this is what we test, no copy of a procedure and no
certificate. ``tests/unit/test_conformance_tests.py`` checks that each test exists.

>>> "| Ass |" in tests_markdown()
True
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

INTEGRATION, UNIT = "tests/integration/test_mms_", "tests/unit/test_mms_"

GROUPS = {
    "Ass": "association",
    "Srv": "server, logical devices, logical nodes, data",
    "Dset": "data sets",
    "Sub": "substitution",
    "Sg": "setting groups",
    "Rp": "unbuffered reports",
    "Br": "buffered reports",
    "Log": "logs",
    "Ctl": "control",
    "Tm": "time",
    "Ft": "files",
}
"""Group → what it is about, in the order of the document."""


@dataclass(frozen=True)
class Case:
    """What is tested; ``tests`` are ``file::function``, empty where ``instead`` says why there is none."""

    group: str
    text: str
    tests: tuple[str, ...] = ()
    instead: str = ""

    @property
    def result(self) -> str:
        """What a reader may rely on."""
        return "passes" if self.tests else self.instead


def _case(group: str, text: str, *tests: str) -> Case:
    return Case(group, text, tuple(INTEGRATION + test for test in tests))


def _unit(group: str, text: str, *tests: str) -> Case:
    return Case(group, text, tuple(UNIT + test for test in tests))


def _none(group: str, text: str, instead: str) -> Case:
    return Case(group, text, (), instead)


NOT_OFFERED, NO_TEST = "not offered", "**no test**"

# fmt: off
CASES: tuple[Case, ...] = (
    _case("Ass", "associate; limits and services that are negotiated",
          "conformance.py::test_negotiated_limits"),
    _case("Ass", "selectors (TSEL, SSEL, PSEL) of any value",
          "conformance.py::test_whatever_selectors_a_client_sends_it_is_served"),
    _case("Ass", "release frees the place", "guard.py::test_a_conclude_is_answered_and_frees_the_place"),
    _case("Ass", "the largest number of associations",
          "births.py::test_five_associations_share_one_server_and_a_sixth_is_refused"),
    _case("Ass", "a client that disappears, half open, or that never reads",
          "hostile.py::test_half_open_connections_hold_no_place",
          "hostile.py::test_a_client_that_never_reads_is_given_up"),
    _case("AssN", "one association more than the server has",
          "births.py::test_five_associations_share_one_server_and_a_sixth_is_refused"),
    _case("AssN", "a connection that never associates",
          "hostile.py::test_who_does_not_associate_is_given_up"),
    _case("AssN", "a transport class that is not 0", "guard.py::test_class_4_is_refused"),
    _case("AssN", "malformed requests: each is answered, none harms others",
          "hostile.py::test_mutants_harm_nobody",
          "hostile.py::test_every_request_has_one_answer_and_none_has_anothers_octets"),
    _case("AssN", "TLS: a certificate that does not count, an old version, no common cipher suite",
          "tls_alerts.py::test_a_certificate_that_does_not_count_is_told_why",
          "tls_alerts.py::test_what_the_server_does_not_speak_is_told"),
    _none("AssN", "wrong authentication parameters in the association", NOT_OFFERED),

    _case("Srv", "directories and definitions are those of the file",
          "model.py::test_discovered_model_is_the_cid", "matrix.py::test_directory_and_read"),
    _case("Srv", "what is sent is decoded by Wireshark without a finding, answers to odd requests included",
          "wireshark.py::test_all_that_a_client_gets_is_decoded",
          "wireshark.py::test_the_answers_to_odd_requests_are_decoded"),
    _case("Srv", "values, quality and time", "values.py::test_a_reading_arrives_with_the_meters_time"),
    _case("Srv", "three phases: sub data objects, units",
          "three_phases.py::test_what_two_clients_browse_is_what_the_file_says"),
    _case("Srv", "identify", "matrix.py::test_identify"),
    _case("Srv", "a hundred pipelined requests", "guard.py::test_pipelined_requests_are_each_answered"),
    _case("SrvN", "write of data that is read only", "conformance.py::test_no_data_can_be_written",
          "control.py::test_only_controls_can_be_written"),
    _case("SrvN", "requests with unknown names or wrong parameters",
          "guard.py::test_each_request_has_one_answer_and_moves_nothing"),

    _case("Dset", "directory and values of configured data sets", "matrix.py::test_data_sets"),
    _case("Dset", "data sets that a client makes and deletes", "matrix.py::test_dynamic_data_sets"),
    _case("Dset", "they end with their association",
          "tls_clients.py::test_what_an_observer_makes_ends_with_its_association"),
    _case("DsetN", "one data set more than the limit",
          "guard.py::test_ten_lists_of_an_association_and_an_eleventh_that_is_refused"),
    _unit("DsetN", "a list that is not the association's, an unknown kind of member",
          "guard.py::test_the_library_never_sees"),
    _none("Dset", "SetDataSetValues", NOT_OFFERED),

    _none("Sub", "all cases", NOT_OFFERED),
    _none("Sg", "all cases", NOT_OFFERED),

    _case("Rp", "enable, data change", "matrix.py::test_unbuffered_reports",
          "reports.py::test_a_changed_reading_is_one_report"),
    _case("Rp", "general interrogation", "reports.py::test_general_interrogation_tells_all_members"),
    _case("Rp", "integrity period", "report_blocks.py::test_all_members_come_with_each_integrity_period"),
    _case("Rp", "each field of OptFlds alone, all but each, none, all",
          "report_blocks.py::test_a_report_has_the_fields_that_were_asked_for"),
    _case("Rp", "segmentation of a long report",
          "report_blocks.py::test_a_report_beyond_the_clients_pdu_comes_in_segments"),
    _case("Rp", "buffer time: a second change within it",
          "conformance.py::test_a_second_change_within_buf_tm_sends_what_waits"),
    _case("Rp", "a change in a sub data object",
          "cdcs.py::test_a_report_tells_a_change_in_a_sub_data_object"),
    _case("Rp", "a data set of the client's own",
          "reports.py::test_a_clients_data_set_is_reported_though_no_configured_one_has_its_member"),
    _case("Rp", "deadband and range: only what leaves them is an event",
          "deadbands.py::test_only_what_leaves_the_deadband_or_the_range_is_an_event"),
    _case("RpN", "values beyond the type of an attribute",
          "guard.py::test_values_beyond_their_type_are_not_stored"),
    _case("RpN", "write of an attribute while the block is enabled",
          "report_blocks.py::test_nothing_of_an_enabled_block_can_be_written"),
    _case("RpN", "write of an attribute without, and against, a reservation",
          "report_blocks.py::test_a_block_that_nobody_has_reserved_takes_no_other_write",
          "report_blocks.py::test_a_block_that_another_client_has_reserved_is_refused"),
    _case("Rp", "a block that was left on a data set of a lost association",
          "report_blocks.py::test_a_block_that_a_client_left_on_its_own_data_set_can_be_used_again"),

    _case("Br", "events from before the block was enabled",
          "reports.py::test_the_buffered_block_keeps_what_happened_before_it_was_enabled"),
    _case("Br", "resynchronisation by EntryID after a lost association",
          "matrix.py::test_buffered_reports_resynchronise_after_a_reconnect"),
    _case("Br", "overflow of the buffer", "matrix.py::test_buffer_overflow_is_told"),
    _case("BrN", "ResvTms, EntryID and others beyond their type",
          "guard.py::test_values_beyond_their_type_are_not_stored"),
    _case("Br", "integrity period, OptFlds",
          "report_blocks.py::test_all_members_come_with_each_integrity_period",
          "report_blocks.py::test_a_report_has_the_fields_that_were_asked_for"),
    _case("Br", "PurgeBuf, and an unknown EntryID",
          "report_purges.py::test_a_purged_buffer_is_empty_and_an_unknown_entry_is_refused"),
    _case("Br", "settings that empty the buffer when they change",
          "report_purges.py::test_which_settings_empty_the_buffer"),
    _case("BrN", "write of an attribute while the block is enabled, and without a reservation",
          "report_blocks.py::test_nothing_of_an_enabled_block_can_be_written",
          "report_blocks.py::test_a_block_that_nobody_has_reserved_takes_no_other_write"),
    _case("BrN", "two clients and one reserved block",
          "reservation.py::test_a_reserved_block_waits_for_the_address_that_reserved_it",
          "reservation.py::test_over_tls_it_waits_for_the_name_in_the_certificate"),

    _none("Log", "all cases", NOT_OFFERED),

    _case("Ctl", "all four control models, positive, with termination where it belongs",
          "control.py::test_operate_opens_and_closes", "matrix.py::test_control"),
    _case("Ctl", "cancel", "matrix.py::test_cancel",
          "addcauses.py::test_a_selection_ends_by_cancel_timeout_and_disconnection"),
    _case("Ctl", "select timeout, and a client that is lost while it has selected",
          "addcauses.py::test_a_selection_ends_by_cancel_timeout_and_disconnection",
          "last_operation.py::test_a_selection_that_was_not_operated_in_time_is_shown_at_once",
          "last_operation.py::test_a_selection_whose_client_has_gone_is_shown_at_once"),
    _case("Ctl", "stSeld", "last_operation.py::test_select_cancel_and_operate_are_shown_at_once"),
    _case("Ctl", "origin and ctlNum of the status",
          "last_operation.py::test_only_an_accepted_operate_changes_them"),
    _case("Ctl", "local: Loc is true", "addcauses.py::test_local_is_blocked_by_switching_hierarchy"),
    _case("Ctl", "interlocking by BlkOpn and BlkCls",
          "addcauses.py::test_blocked_by_interlocking_whatever_check_says"),
    _case("CtlN", "operate without a select", "control.py::test_operate_without_select_is_refused"),
    _case("CtlN", "select of what another client has selected",
          "addcauses.py::test_object_already_selected_and_another_clients_operate_and_cancel"),
    _case("CtlN", "operate with other parameters than the select",
          "addcauses.py::test_an_operate_that_is_not_what_was_selected_is_inconsistent"),
    _case("CtlN", "cancel with other parameters than the select, operTm",
          "last_operation.py::test_a_time_and_a_cancel_of_another_operation_are_refused_with_their_cause"),
    _case("CtlN", "Test", "addcauses.py::test_test_flag_and_retirement_are_blocked_by_mode"),
    _case("CtlN", "the position is reached already",
          "control.py::test_refused_before_it_is_sent_and_told_to_the_ledger"),
    _case("CtlN", "a command is under way", "addcauses.py::test_command_already_in_execution"),
    _case("CtlN", "the device does not move, or answers no: the negative termination",
          "control.py::test_what_the_meter_does_not_do_terminates_negatively"),
    _case("CtlN", "an invalid origin", "addcauses.py::test_an_origin_that_is_none"),
    _unit("CtlN", "several commands in one Write", "guard.py::test_the_library_never_sees"),
    _none("Ctl", "time-activated operate, operate-many", NOT_OFFERED),

    _case("Tm", "t is the time of the meter, in ms",
          "values.py::test_a_reading_arrives_with_the_meters_time"),
    _case("Tm", "a clock that is not synchronized is shown in the time quality",
          "values.py::test_a_clock_without_ntp_is_told",
          "values.py::test_a_reading_that_is_marked_has_a_clock_that_is_not_synchronized"),
    _case("Tm", "the clock of the gateway is not synchronized",
          "time.py::test_an_unsynchronized_host_is_told_and_so_is_its_return"),
    _none("Tm", "synchronization over SNTP: the operating system does it, not this server", NOT_OFFERED),

    _case("FtN", "every file service is refused", "library_faults.py::test_no_file_service_is_served"),
    _none("Ft", "directory, attributes, read, delete", NOT_OFFERED),
)
"""In the order of the groups."""
# fmt: on

_HEAD = """
## Tests by the groups of IEC 61850-10

What our own tests cover, by the groups of part 10 (`N`: negative). They run with each change, against this
server and with independent clients; "passes" means that a change which breaks one is not released. The
descriptions are ours, not the standard's test procedures. No laboratory has tested this product, and there is
no certificate.

| group | test case | our test | result |
|---|---|---|---|
"""


def tests_markdown() -> str:
    """The section."""
    return _HEAD + "".join(_rows())


def _rows() -> Iterator[str]:
    for case in CASES:
        where = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in case.tests) or "–"
        yield f"| {case.group} | {case.text} | {where} | {case.result} |\n"
