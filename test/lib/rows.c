/* What an engine, or a form (form.h), cannot be asked, and what cannot be asked beside others (shards.c):
 * rows of the runner, by sentence, each with its reason.
 *
 * One sentence trusts the system's buffers to hold what nobody reads. */
#include "lib/test.h"

static const char itself[] = "a world has one thread, which cannot wait for itself";
static const char readiness[] = "readiness of descriptors: this engine has none (PRO_ENOTSUP)";
static const char processes[] = "child processes: a world has none (PRO_ENOTSUP)";
static const char raised[] = "signals of the system: a world has none";
static const char watching[] = "watching: not in a world as yet (PRO_ENOTSUP)";
static const char room[] = "what nobody reads any more need not fit into a simulated window";

struct row {
    const char *sentence, *why;
};

/* For --form=await. */
static const struct row await[] = {
    {"a_unix_datagram_has_a_sender_by_name",
     "its handler asks the operation for the name, which is in that of the coroutine"},
    {"an_operation_counts_in_the_scope_of_its_handle_unless_it_has_one",
     "the forms of await.h have no operation to give a scope: they count in that of the handle"},
};

/* For --form=zerocopy, on an engine that does it. */
static const char reset[] =
    "the reset that frees the memory takes along what the peer has not read";

static const struct row zerocopy[] = {
    {"close_with_writes_queued_completes_each_before_itself", reset},
    {"a_send_cut_short_by_cancel_breaks_the_write_side", reset},
    {"a_send_cut_short_by_its_socket_breaks_the_write_side", reset},
    {"a_send_cut_short_by_its_scope_breaks_the_write_side", reset},
    {"a_send_cut_short_by_its_deadline_breaks_the_write_side", reset},
};

/* With --shards these run while the other shards wait; by the file: all sentences of it. */
static const char descriptors[] = "the descriptors that it leaves none of are the process's";
static const char signals[] = "what a signal does is a matter of the process";
static const char children[] =
    "it looks for children, which are the process's, whoever started them";

static const struct row alone[] = {
    {"a_send_that_is_not_copied_is_cut_in_a_slot_where_no_descriptor_is_left", descriptors},
    {"without_descriptors_a_file_says_so_and_opens_later", descriptors},
    {"an_accept_without_descriptors_says_so_and_the_listener_recovers", descriptors},
    {"accept_multi_without_descriptors_says_so_and_the_listener_recovers", descriptors},
    {"a_socket_or_listener_without_descriptors_stays_the_callers", descriptors},
    {"a_datagram_socket_without_descriptors_stays_the_callers", descriptors},
    {"a_receive_of_handles_without_descriptors_left_says_so", descriptors},
    {"pipes_and_pairs_without_descriptors_stay_the_callers", descriptors},
    {"a_slot_needs_no_descriptor", descriptors},
    {"a_post_from_a_signal_handler_works", signals},
    {"stop_from_a_signal_handler_works", signals},
    {"process.c", children},
    {"signal.c", signals},
};

static const struct row sim[] = {
    {"a_file_that_cannot_be_sent_as_it_is_goes_through_a_buffer", "a world has no /proc"},
    {"a_leased_stream_that_a_fault_breaks_ends_once_and_keeps_no_buffer",
     "faults by seed are laid over engines of the system; here the world has them"},
    {"a_function_has_another_thread_and_its_handler_the_loops", itself},
    {"a_function_that_is_queued_is_canceled_and_never_runs", itself},
    {"a_function_that_runs_is_never_cut", itself},
    {"a_deadline_ends_a_function_that_is_queued_and_none_that_runs", itself},
    {"a_scope_waits_for_a_function_that_runs", itself},
    {"beyond_its_queue_the_pool_is_busy_and_the_waiting_form_waits", itself},
    {"as_many_functions_run_at_once_as_there_may_be_threads", itself},
    {"a_pipe_of_another_program_is_a_stream_like_ours", "a world has no other programs"},
    {"what_has_no_offsets_is_no_file_to_copy", "a world has no other programs, nor their pipes"},
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
    {"a_child_gets_every_argument_as_it_is", processes},
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
    {"a_signal_completes_the_waits_of_all_loops", raised},
    {"a_signal_that_comes_between_two_waits_is_told_to_the_second", raised},
    {"a_wait_for_a_signal_that_does_not_come_ends_once", raised},
    {"a_signal_that_nobody_can_hear_is_an_error", raised},
    {"a_watched_directory_tells_what_happens_to_its_entries", watching},
    {"both_halves_of_a_renaming_are_told_as_a_pair", watching},
    {"changes_that_came_together_are_told_together", watching},
    {"a_watched_file_tells_its_own_changes_and_its_end", watching},
    {"no_change_is_told_after_a_close", watching},
    {"a_watch_canceled_or_timed_out_loses_no_change", watching},
    {"changes_that_nobody_fetches_end_in_an_overflow", watching},
    {"watching_what_is_not_there_is_an_error", watching},
    {"a_watched_directory_that_is_removed_says_so_and_ends", watching},
    {"a_watched_file_is_followed_through_its_renaming", watching},
    {"the_name_of_a_change_is_utf8", watching},
};

static const char other[] = "signals between processes: Windows has none";

static const struct row iocp[] = {
    {"a_temporary_file_has_no_name", "it has one here, which goes with its handle"},
    {"a_file_is_always_ready", "readiness of sockets only: files have none (PRO_EBADF)"},
    {"a_poll_says_that_the_other_side_is_gone",
     "a pair is TCP here, where the end of one direction is not the end of the other"},
    {"a_watched_directory_that_is_removed_says_so_and_ends",
     "Wine 8 removes a directory when the last handle on it is closed, and tells nobody that it waits for that"},
    {"a_child_starts_with_no_signal_blocked_or_ignored", other},
    {"a_child_that_somebody_else_waited_for_is_no_success",
     "a child's end is told to all who have a handle, so nobody can take it from the others"},
    {"a_reset_that_a_leased_receive_was_told_is_remembered",
     "Wine 8: a reset that ends a receive of no bytes is told to nobody, and the next receive says end of stream"},
};

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
    if (engine == PRO_ENGINE_IOCP) why = FIND(iocp, sentence);
    return why;
}

const char *t_row_of_zerocopy(pro_engine engine, const char *sentence)
{
    return engine == PRO_ENGINE_URING ? FIND(zerocopy, sentence) : NULL;
}

const char *t_row_of_await(const char *sentence) { return FIND(await, sentence); }

const char *t_row_of_alone(const t_test *test)
{
    const char *base = strrchr(test->file, '/');
    const char *why = FIND(alone, test->name);
    return why != NULL ? why : FIND(alone, base != NULL ? base + 1 : test->file);
}
