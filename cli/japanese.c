/*
 * A row of the catalogue is an English sentence with a % for each value, and
 * its translation with %1, %2, ... in their places. The first row that matches
 * the whole text wins; values are translated in turn, because one sentence may
 * hold another ("REASON; it runs on local.default"). tests/test_japanese.c
 * fails when a rule or a wait reason is not in the catalogue.
 */
#include "cli/japanese.h"

#include "lib/model/task_state.h"

#include <string.h>

enum { VALUES_MAX = 5, NESTING_MAX = 4 };

struct translation {
    const char *english, *japanese;
};

static const struct translation sentences[] = {
    /* What the router adds to the reason of a rule. */
    {"%; no worker of % is known, so it waits for one",
     "%1。ただし %2 のワーカーがいないため、現れるまで待つ"},
    {"%; % is not available, and policy rejects such tasks",
     "%1。ただし %2 は利用できず、ポリシーによりそのようなタスクは拒否される"},
    {"%; % is not available, so it runs on %",
     "%1。ただし %2 は利用できないため、%3 で実行する"},
    {"%; % is not available, so it goes to %",
     "%1。ただし %2 は利用できないため、%3 に送る"},
    {"%: not available (no worker is known and none is configured)",
     "%1: 利用できない(ワーカーがおらず、設定もされていない)"},
    {"% by % (%): % stands before it",
     "%1(規則 %2: %3)よりも規則 %4 が優先する"},
    {"local.default: %", "local.default: %1"},
    {"codespace.default: %", "codespace.default: %1"},
    {"local.claude-code: %", "local.claude-code: %1"},
    {"rejected: %", "拒否: %1"},

    /* The rules, in their order. */
    {"nothing is left to run after the prefix",
     "接頭辞のほかに実行するものがない"},
    {"backend '%' is unknown; known are local, codespace and secutools",
     "バックエンド「%1」はない(あるのは local、codespace、secutools)"},
    {"backend codespace runs steps; a prompt goes to local (lane claude-code) "
     "or secutools",
     "バックエンド codespace はコマンドだけを実行する。プロンプトは "
     "local(レーン claude-code)か secutools に送る"},
    {"backend secutools answers prompts and cannot run steps; use local or "
     "codespace",
     "バックエンド secutools はプロンプトに答えるだけで、コマンドを"
     "実行できない。local か codespace を使う"},
    {"the submitter asked for %", "投入者が %1 を指定した"},
    {"executor '%' is unknown; known are %", "実行者「%1」はない(あるのは %2)"},
    {"%: it is not sent to backend secutools",
     "%1。バックエンド secutools には送らない"},
    {"allow_delegation=false",
     "委任が許可されていない(allow_delegation=false)"},
    {"executor % means %", "実行者 %1 は %2 を指す"},
    {"needs_claude_code=true", "needs_claude_code=true が指定されている"},
    {"preferred_ai=auto (smart_triage)",
     "preferred_ai=auto のため、プラットフォームが選ぶ(smart_triage)"},
    {"preferred_ai=%", "preferred_ai=%1 が指定されている"},
    {"allow_delegation=false (default)",
     "委任が許可されていない(allow_delegation=false、既定値)"},
    {"unknown preferred_ai=% → fail-safe",
     "preferred_ai=%1 は未知の名前なので、安全のため外部に送らない"},
    {"agent % works locally", "エージェント %1 はローカルで作業する"},
    {"agent % works in the cloud", "エージェント %1 はクラウドで作業する"},
    {"the prefix local: keeps it here",
     "接頭辞 local: がローカル実行を指定している"},
    {"the prefix cloud: sends it away",
     "接頭辞 cloud: がクラウド実行を指定している"},
    {"stated runtime % leaves doubt: it is over %",
     "申告された実行時間 %1 は %2 を超え、短いとは言い切れない"
     "(迷ったらクラウド)"},
    {"stated runtime % is over %", "申告された実行時間 %1 が上限 %2 を超える"},
    {"it prints a great deal", "大量のログを出力する"},
    {"it calls language models or embeddings",
     "言語モデルか埋め込み(embedding)を呼び出す"},
    {"it runs % jobs at once", "同時に %1 本のジョブを動かす"},
    {"stated memory % MiB is over % MiB",
     "申告されたメモリ %1 MiB が上限 %2 MiB を超える"},
    {"stated memory % MiB is more than any local worker has free (% MiB)",
     "申告されたメモリ %1 MiB が、ローカルワーカーの空き(最大 %2 MiB)を"
     "超える"},
    {"its memory is stated to be unknown",
     "メモリ使用量が不明と申告されている"},
    {"every exception of allow_local holds",
     "allow_local の条件をすべて満たす"},
    {"score % reaches the threshold %", "スコア %1 がしきい値 %2 に達した"},
    {"score % is below the threshold %", "スコア %1 はしきい値 %2 に届かない"},
    {"% running here", "ここで %1 件実行中"},
    {"there is no lane %; there are %", "レーン %1 はない(あるのは %2)"},

    /* Why a task was never routed. */
    {"comes after %, which ended %", "先行する %1 が終了した(%2)"},
    {"cancelled by %: %", "%1 が取り消した: %2"},
    {"cancelled by %", "%1 が取り消した"},

    /* What a task waits for. */
    {"held by its submitter", "投入者が保留している"},
    {"is being cancelled", "取り消しの途中"},
    {"is not routed yet; the router has not answered",
     "まだ振り分けられていない。ルーターの応答待ち"},
    {"is on its way to the router", "ルーターへ送信中"},
    {"is spooled here, not sent to a broker yet",
     "このマシンのスプールにあり、まだブローカーに送られていない"},
    {"waits until % at the latest: %", "遅くとも %1 まで待つ: %2"},
    {"waits until %", "%1 まで待つ"},
    {"waits for % and % more, and until %",
     "%1 ほか %2 件の終了と、%3 になるのを待つ"},
    {"waits for %, and until %", "%1 の終了と、%2 になるのを待つ"},
    {"waits for % and % more", "%1 ほか %2 件の終了を待つ"},
    {"waits for %", "%1 の終了を待つ"},
    {"lane % is paused until %: %", "レーン %1 は %2 まで休止中: %3"},
    {"lane % is paused until %", "レーン %1 は %2 まで休止中"},
    {"lane % is paused: %", "レーン %1 は休止中: %2"},
    {"lane % is paused", "レーン %1 は休止中"},
    {"no worker serves lane %; it waits for one",
     "レーン %1 を担当するワーカーがいないため、現れるまで待つ"},
    {"every worker of lane % is draining",
     "レーン %1 のワーカーはすべて終了準備中"},
    {"is next on lane %, for a free slot", "レーン %1 の次の番。空き待ち"},
    {"is queued on lane % behind at least % task%",
     "レーン %1 で順番待ち。前に少なくとも %2 件"},
    {"is queued on lane % behind % task%", "レーン %1 で順番待ち。前に %2 件"},
    {"its next attempt is due; %", "次の試行の時刻になった。%1"},
    {"its last attempt did not succeed; the next is due in %",
     "前回の試行は成功しなかった。次の試行まで %1"},

    /* Why a lane is paused or a task was handed back, as far as it is ours. */
    {"paused by a person", "人が休止させた"},
    {"its lane is paused", "レーンが休止中"},
    {"handed back: the worker stops", "ワーカーが終了するため返された"},
    {"handed back: no slot became free", "空きができず返された"},
    {"the platform asks for a pause (HTTP 429)",
     "プラットフォームが休止を求めている(HTTP 429)"},
};

static const char *const states[STATE_COUNT] = {
    [STATE_SUBMITTED] = "投入済み",
    [STATE_ACCEPTED] = "受付済み",
    [STATE_HELD] = "保留中",
    [STATE_BLOCKED] = "条件待ち",
    [STATE_ROUTED] = "振り分け済み",
    [STATE_RUNNING] = "実行中",
    [STATE_RETRY_WAIT] = "再試行待ち",
    [STATE_SUCCEEDED] = "成功",
    [STATE_FAILED] = "失敗",
    [STATE_UNVERIFIED] = "未検証",
    [STATE_NO_OP] = "変更なし",
    [STATE_TIMED_OUT] = "時間切れ",
    [STATE_CANCELLED] = "取り消し済み",
    [STATE_REJECTED] = "拒否",
    [STATE_DEAD] = "処理不能",
    [STATE_UNKNOWN] = "結果不明",
    [STATE_LOST] = "消失",
    [STATE_PREEMPTED] = "返却",
};

static const struct translation signals[] = {
    {"build", "ビルド"},
    {"batch-job", "バッチ処理"},
    {"test", "テスト"},
    {"toolchain", "ツールチェーン"},
    {"long-running", "長時間プロセス"},
    {"heavy-log", "大量ログ出力"},
    {"heavy-processing", "重処理"},
    {"parallel", "並列実行"},
    {"data", "データ量"},
    {"cloud-prefix", "接頭辞 cloud:"},
    {"local-prefix", "接頭辞 local:"},
};

static const struct translation labels[] = {
    {"Routing decision", "ルーティング判定"},
    {"Task", "タスク"},
    {"Agent", "担当エージェント"},
    {"none", "なし"},
    {"Decision", "判定"},
    {"Run", "実行"},
    {"locally", "ローカル実行"},
    {"REJECTED", "拒否"},
    {"Reason", "理由"},
    {"Lane", "行き先"},
    {"Cost", "費用"},
    {"Considered", "検討"},
    {"Policy", "ポリシー"},
    {"State", "状態"},
    {"Waits", "待機"},
    {"not decided yet", "未判定"},
    {"never routed", "振り分けなし"},
    {"Here", "このフリートでは"},
};

struct value {
    const char *text;
    size_t len;
};

/* Whether the pattern is the whole text; the text of each % to values. */
static bool
matches(const char *pattern, const char *text, struct value *values)
{
    size_t len = strcspn(pattern, "%");

    if (strncmp(pattern, text, len) != 0)
        return false;
    pattern += len;
    text += len;
    if (!*pattern)
        return !*text;
    values->text = text;
    for (values->len = 0;; values->len++) {
        if (matches(pattern + 1, text + values->len, values + 1))
            return true;
        if (!text[values->len])
            return false;
    }
}

static void
add(const char *text, int depth, struct str *out)
{
    struct value values[VALUES_MAX] = {{0}};
    const struct translation *t = sentences,
                             *end = t + sizeof sentences / sizeof *sentences;
    struct str value = {0};

    while (depth < NESTING_MAX && t < end && !matches(t->english, text, values))
        t++;
    if (depth == NESTING_MAX || t == end) {
        str_addz(out, text);
        return;
    }
    for (const char *p = t->japanese; *p; p++) {
        if (*p != '%') {
            str_addc(out, *p);
            continue;
        }
        p++;
        str_reset(&value);
        str_add(&value, values[*p - '1'].text, values[*p - '1'].len);
        add(str_text(&value), depth + 1, out);
    }
    str_free(&value);
}

void
japanese_add(const char *text, struct str *out)
{
    add(text, 0, out);
}

const char *
japanese_state(const char *state)
{
    return states[state_from_name(state)];
}

static const char *
find(const struct translation *t, size_t n, const char *english)
{
    for (; n > 0; n--, t++)
        if (strcmp(t->english, english) == 0)
            return t->japanese;
    return NULL;
}

const char *
japanese_signal(const char *name)
{
    return find(signals, sizeof signals / sizeof *signals, name);
}

const char *
japanese_label(const char *english)
{
    return find(labels, sizeof labels / sizeof *labels, english);
}
