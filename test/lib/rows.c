/* What an engine, or a form (form.h), cannot be asked, and what cannot be asked beside others (shards.c):
 * rows of the runner, by sentence, each with its reason.
 *
 * A simulated world has no way to the system's own sockets, so sentences that put a raw peer (lib/peer.h)
 * at the other end of a connection are skipped there; the simulator's own scenarios (test/sim) have
 * peers on other nodes.  One sentence trusts the system's buffers to hold what nobody reads. */
#include "lib/test.h"

static const char raw[] = "a raw peer is outside of a simulated world";
static const char itself[] = "a world has one thread, which cannot wait for itself";
static const char readiness[] = "readiness of descriptors: this engine has none (PRO_ENOTSUP)";
static const char room[] = "what nobody reads any more need not fit into a simulated window";

struct row {
    const char *sentence, *why;
};

/* For --form=await. */
static const struct row await[] = {
    {"an_operation_counts_in_the_scope_of_its_handle_unless_it_has_one",
     "the forms of await.h have no operation to give a scope: they count in that of the handle"},
};

/* With --shards these run while the other shards wait. */
static const char descriptors[] = "the descriptors that it leaves none of are the process's";
static const char signals[] = "what a signal does is a matter of the process";

static const struct row alone[] = {
    {"an_accept_without_descriptors_says_so_and_the_listener_recovers", descriptors},
    {"accept_multi_without_descriptors_says_so_and_the_listener_recovers", descriptors},
    {"a_socket_or_listener_without_descriptors_stays_the_callers", descriptors},
    {"a_datagram_socket_without_descriptors_stays_the_callers", descriptors},
    {"a_post_from_a_signal_handler_works", signals},
    {"stop_from_a_signal_handler_works", signals},
};

static const struct row sim[] = {
    {"a_connection_queued_before_the_accept_is_delivered", raw},
    {"an_accepted_socket_may_be_closed_in_its_handler", raw},
    {"a_connection_that_is_not_taken_is_closed", raw},
    {"a_connection_is_taken_once", raw},
    {"a_connection_taken_into_a_closing_scope_is_closed", raw},
    {"accept_multi_delivers_a_burst", raw},
    {"accept_multi_loses_nothing_with_the_smallest_queues", raw},
    {"accept_multi_goes_on_while_clients_come_and_go", raw},
    {"accept_multi_canceled_in_its_handler_ends_once_and_loses_nobody", raw},
    {"accept_multi_ends_when_its_listener_closes", raw},
    {"accepts_of_one_listener_complete_in_order", raw},
    {"an_accept_without_descriptors_says_so_and_the_listener_recovers", raw},
    {"accept_multi_without_descriptors_says_so_and_the_listener_recovers", raw},
    {"a_socket_or_listener_without_descriptors_stays_the_callers", raw},
    {"a_port_with_connections_that_were_closed_can_be_listened_on_again", raw},
    {"listeners_with_reuse_port_share_an_address", raw},
    {"cancel_racing_a_receive_completes_it_once_and_loses_no_byte", raw},
    {"cancel_racing_a_send_completes_it_once_and_loses_no_byte", raw},
    {"cancel_racing_an_accept_completes_it_once_and_loses_no_connection", raw},
    {"a_cancel_never_hits_the_next_use_of_an_operation", raw},
    {"cancel_of_receive_exactly_between_its_steps_stops_it", raw},
    {"a_buffer_is_the_callers_again_once_the_handler_begins", raw},
    {"a_handler_may_stop_others_that_are_due_in_the_same_turn", raw},
    {"a_handler_may_end_and_free_another_connection_that_is_due_in_the_same_turn", raw},
    {"a_socket_may_be_closed_in_a_handler_of_its_own", raw},
    {"a_socket_is_the_callers_again_when_the_handler_of_its_close_begins", raw},
    {"a_close_sends_what_was_sent_before_it", raw},
    {"an_abortive_close_sends_a_reset", raw},
    {"an_orderly_close_sends_the_end", raw},
    {"the_backlog_of_a_closed_listener_is_refused_or_reset", raw},
    {"adopting_what_is_no_socket_is_refused", raw},
    {"repeated_refusal_stays_connection_refused", raw},
    {"a_socket_that_was_refused_is_refused_again", raw},
    {"closing_while_connecting_cancels_the_connect_once", raw},
    {"canceling_a_connect_completes_it_once", raw},
    {"a_deadline_while_connecting_times_it_out_once", raw},
    {"a_write_started_before_connect_completes_is_sent_after_it", raw},
    {"a_write_started_before_connect_fails_with_it", raw},
    {"a_connect_that_fails_does_not_close_the_socket", raw},
    {"connecting_twice_says_connected_already", raw},
    {"the_address_may_be_reused_once_connect_returned", raw},
    {"a_deadline_reports_the_bytes_so_far", raw},
    {"a_deadline_in_the_past_completes_once", raw},
    {"a_deadline_racing_data_completes_once_and_loses_no_byte", raw},
    {"the_end_of_a_stream_comes_after_all_its_data", raw},
    {"a_receive_pending_when_the_stream_ends_says_so", raw},
    {"a_short_read_is_a_result", raw},
    {"a_receive_of_length_zero_completes_at_once_and_takes_nothing", raw},
    {"a_receive_of_length_zero_completes_on_the_next_turn_whatever_is_before_it", raw},
    {"reads_are_started_and_stopped_inside_handlers", raw},
    {"endless_posts_and_timers_do_not_starve_input", raw},
    {"would_block_never_leaks", raw},
    {"receive_exactly_gathers_what_comes_in_pieces", raw},
    {"receive_exactly_that_meets_the_end_says_what_came", raw},
    {"two_receives_pending_complete_in_the_order_of_initiation", raw},
    {"many_receives_pending_fill_in_order_whatever_their_kind", raw},
    {"vectored_receives_continue_at_any_byte", raw},
    {"a_vectored_receive_may_be_short", raw},
    {"a_receive_from_a_peer_that_resets_says_so", raw},
    {"a_reset_that_a_send_was_told_is_not_an_end_of_stream", raw},
    {"the_memory_of_a_session_is_the_callers_when_its_scope_is_drained", raw},
    {"a_shutdown_of_a_broken_connection_completes_once", raw},
    {"writing_to_a_peer_that_is_gone_ends_with_an_error", raw},
    {"a_write_pending_at_a_peer_that_resets_ends_with_its_bytes_so_far", raw},
    {"a_receive_cut_short_leaves_the_write_side_and_the_stream_alone", raw},
    {"a_function_has_another_thread_and_its_handler_the_loops", itself},
    {"a_function_that_is_queued_is_canceled_and_never_runs", itself},
    {"a_function_that_runs_is_never_cut", itself},
    {"a_deadline_ends_a_function_that_is_queued_and_none_that_runs", itself},
    {"a_scope_waits_for_a_function_that_runs", itself},
    {"beyond_its_queue_the_pool_is_busy_and_the_waiting_form_waits", itself},
    {"as_many_functions_run_at_once_as_there_may_be_threads", itself},
    {"the_next_endpoint_does_not_wait_for_a_silent_one", raw},
    {"a_race_canceled_timed_out_or_closed_completes_once", raw},
    {"busy_streams_do_not_starve_a_quiet_one", room},
    {"a_poll_completes_when_there_is_something_to_read", readiness},
    {"a_poll_is_level_triggered", readiness},
    {"polls_of_two_directions_are_independent", readiness},
    {"a_full_descriptor_is_ready_to_write_when_it_drains", readiness},
    {"a_poll_says_that_the_other_side_is_gone", readiness},
    {"a_poll_canceled_timed_out_or_closed_completes_once", readiness},
    {"the_owner_may_close_a_descriptor_that_is_polled", readiness},
    {"one_descriptor_may_be_polled_by_several_and_used_by_its_owner", readiness},
    {"polls_of_one_direction_complete_in_order", readiness},
    {"a_file_is_always_ready", readiness},
    {"a_poll_for_something_else_is_an_error", readiness},
    {"random_polls_complete_exactly_once", readiness},
};

/* What needs descriptors, processes, directories or names of the system: not in a simulated world, and
 * not on Windows as yet. */
static const char processes[] = "child processes: not on this engine as yet (PRO_ENOTSUP)";
static const char watching[] = "watching: not on this engine as yet (PRO_ENOTSUP)";

static const struct row system_rows[] = {
    {"a_file_is_always_ready", "readiness of sockets only: files have none (PRO_EBADF)"},
    {"a_poll_says_that_the_other_side_is_gone",
     "a pair is TCP here, where the end of one direction is not the end of the other"},
    {"a_child_ends_with_its_exit_code_or_its_signal", processes},
    {"a_child_gets_its_arguments_environment_and_directory", processes},
    {"a_spawn_that_fails_says_why_and_leaves_nothing", processes},
    {"a_child_has_the_descriptors_it_was_given_and_no_others", processes},
    {"a_child_starts_with_no_signal_blocked_or_ignored", processes},
    {"a_wait_canceled_leaves_the_child_and_the_other_waits_alone", processes},
    {"a_signal_reaches_the_child_and_nobody_after_its_end", processes},
    {"closing_kills_a_child_that_ignores_signals_and_waits_until_it_is_gone", processes},
    {"closing_kills_the_whole_group_of_a_child", processes},
    {"a_child_that_leaves_a_daemon_behind_has_ended", processes},
    {"draining_a_scope_waits_for_its_child_and_kills_it_at_the_deadline", processes},
    {"a_second_child_is_refused_while_one_runs", processes},
    {"a_child_may_be_started_again_in_the_handler_of_its_end", processes},
    {"many_children_that_end_at_once_are_all_reaped", processes},
    {"a_child_that_somebody_else_waited_for_is_no_success", processes},
    {"a_spawn_without_descriptors_says_so_and_works_later", processes},
    {"a_spawn_canceled_closed_or_timed_out_completes_once_and_leaves_no_child", processes},
    {"a_watched_directory_tells_what_happens_to_its_entries", watching},
    {"both_halves_of_a_renaming_are_told_as_a_pair", watching},
    {"changes_that_came_together_are_told_together", watching},
    {"a_watched_file_tells_its_own_changes_and_its_end", watching},
    {"no_change_is_told_after_a_close", watching},
    {"a_watch_canceled_or_timed_out_loses_no_change", watching},
    {"changes_that_nobody_fetches_end_in_an_overflow", watching},
    {"watching_what_is_not_there_is_an_error", watching},
};

static bool is_system(pro_engine engine)
{
    return engine == PRO_ENGINE_URING || engine == PRO_ENGINE_EPOLL;
}

static const char *find(const struct row *rows, size_t count, const char *sentence)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].sentence, sentence) == 0) return rows[i].why;
    return NULL;
}

#define FIND(rows, sentence) find(rows, sizeof(rows) / sizeof *(rows), sentence)

const char *t_row_of(pro_engine engine, const char *sentence)
{
    const char *why = engine == PRO_ENGINE_SIM ? FIND(sim, sentence) : NULL;
    if (why == NULL && !is_system(engine)) why = FIND(system_rows, sentence);
    return why;
}

const char *t_row_of_await(const char *sentence) { return FIND(await, sentence); }
const char *t_row_of_alone(const char *sentence) { return FIND(alone, sentence); }
