#include "tests/fuzz/fuzz.h"

const struct fuzz_target fuzz_targets[] = {
    {"task", fuzz_task},       {"task_in", fuzz_task_in},
    {"routed", fuzz_routed},   {"result", fuzz_result},
    {"claim", fuzz_claim},     {"heartbeat", fuzz_heartbeat},
    {"control", fuzz_control}, {"log_chunk", fuzz_log_chunk},
    {"batch", fuzz_batch},     {"json_task", fuzz_json_task},
    {"formats", fuzz_formats}, {"glob", fuzz_glob},
    {"dod", fuzz_dod},         {"subject", fuzz_subject},
    {"words", fuzz_words},     {"conf", fuzz_conf},
    {"headers", fuzz_headers}, {"proto", fuzz_proto},
    {"judge", fuzz_judge},     {"decide", fuzz_decide},
    {"policy", fuzz_policy},   {"testcount", fuzz_testcount},
    {"pattern", fuzz_pattern}, {NULL, NULL},
};
