// SPDX-License-Identifier: Apache-2.0
#include "advice.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <string.h>

#include "cleanup.h"
#include "shared.h"
#include "text.h"

#define BIT(tier) (1U << (tier))

static void read_modules(char *ret, size_t size)
{
    CT_AUTO_FILE file = fopen("/sys/kernel/security/lsm", "re");
    ret[0] = '\0';
    if (file != NULL && fgets(ret, (int)size, file) != NULL) {
        ret[strcspn(ret, "\n")] = '\0';
    }
}

// The functions that LSM programs are attached to (kernel/bpf/bpf_lsm.c).
static bool has_bpf_lsm(void)
{
    struct btf *btf = btf__load_vmlinux_btf();
    bool has = btf != NULL && btf__find_by_name_kind(btf, "bpf_lsm_file_open", BTF_KIND_FUNC) > 0;
    btf__free(btf);
    return has;
}

// The kernel takes a program that asks for it only where it is built with it.
static bool has_override(void)
{
    static const struct bpf_insn program[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_override_return},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
        {.code = BPF_JMP | BPF_EXIT},
    };
    CT_AUTO_FD fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "ct_override", "Dual BSD/GPL", program,
                                  CT_ARRAY_LEN(program), NULL);
    return fd >= 0;
}

void ct_advice_look(struct ct_advice_facts *ret)
{
    read_modules(ret->modules, sizeof(ret->modules));
    ret->has_lsm = has_bpf_lsm();
    ret->has_override = has_override();
}

static bool is_listed(const char *list, const char *name)
{
    const char *entry;
    size_t len;
    while (ct_text_next(&list, &entry, &len)) {
        if (strlen(name) == len && memcmp(entry, name, len) == 0) {
            return true;
        }
    }
    return false;
}

static void advise_lsm(const struct ct_advice_facts *facts, FILE *out)
{
    const char *built =
        facts->has_lsm ? "" : "take a kernel that is built with CONFIG_BPF_LSM=y, and ";
    if (facts->modules[0] == '\0') {
        (void)fprintf(out,
                      "to get more: %sboot with bpf in lsm=; what is in it now cannot be seen, for "
                      "there is no /sys/kernel/security/lsm\n",
                      built);
    } else if (!is_listed(facts->modules, "bpf")) {
        (void)fprintf(out, "to get more: %sboot with lsm=%s,bpf\n", built, facts->modules);
    }
}

void ct_advice_write(const struct ct_advice_facts *facts, FILE *out)
{
    if (facts->exempts) {
        (void)fputs(
            "to get more: leave --exempt out, for whoever is root can look like the program "
            "that it names\n",
            out);
        return;
    }
    if ((~facts->tiers & (BIT(CT_TIER_LSM) | BIT(CT_TIER_FMOD_RET))) != 0) {
        (void)fputs("to get more: leave --tiers out, or name lsm and fmod_ret too\n", out);
    }
    if ((facts->tiers & BIT(CT_TIER_LSM)) != 0) {
        advise_lsm(facts, out);
    }
    // It knows system calls and no files, and so earns no points by itself.
    if ((facts->tiers & BIT(CT_TIER_KPROBE)) != 0 && !facts->has_override) {
        (void)fputs(
            "to have system calls refused where lsm and fmod_ret do not: take a kernel that "
            "is built with CONFIG_BPF_KPROBE_OVERRIDE=y\n",
            out);
    }
}
