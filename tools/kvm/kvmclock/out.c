// SPDX-License-Identifier: GPL-2.0-only
/*
 * A report as aligned text or as JSON.
 */
#include "tool.h"

static void label(struct out *out, const char *key, const char *text)
{
	if (!out->json) {
		fprintf(out->file, "%-29s ", text);
		return;
	}

	fprintf(out->file, "%s\"%s\":", out->more ? "," : "", key);
	out->more = true;
}

/* The texts are ours, apart from names of files: those have to be quoted. */
static void json_string(struct out *out, const char *text)
{
	fputc('"', out->file);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(out->file, "\\%c", *text);
		else if ((unsigned char)*text < ' ')
			fprintf(out->file, "\\u%04x", *text);
		else
			fputc(*text, out->file);
	}
	fputc('"', out->file);
}

/* A process calls itself what it likes: a terminal is not to obey it, nor JSON to break. */
void out_clean(char *text)
{
	for (; *text; text++) {
		if (*text < ' ' || *text > '~')
			*text = '?';
	}
}

void out_begin(struct out *out, FILE *file, bool json)
{
	*out = (struct out) { .file = file, .json = json };
	if (json)
		fputc('{', file);
}

void out_end(struct out *out)
{
	if (out->json)
		fputs("}\n", out->file);
	fflush(out->file);
}

void out_group(struct out *out, const char *key)
{
	if (!out->json)
		return;

	fprintf(out->file, "%s\"%s\":{", out->more ? "," : "", key);
	out->more = false;
}

void out_group_end(struct out *out)
{
	if (!out->json)
		return;

	fputc('}', out->file);
	out->more = true;
}

void out_list(struct out *out, const char *key, const char *text)
{
	label(out, key, text);
	if (out->json)
		fputc('[', out->file);
	out->more = false;
}

void out_item(struct out *out, const char *text)
{
	if (out->json) {
		fputs(out->more ? "," : "", out->file);
		json_string(out, text);
	} else {
		fprintf(out->file, "%s%s", out->more ? ", " : "", text);
	}
	out->more = true;
}

void out_list_end(struct out *out)
{
	if (out->json)
		fputc(']', out->file);
	else
		fputs(out->more ? "\n" : "none\n", out->file);
	out->more = true;
}

void out_text(struct out *out, const char *key, const char *text, const char *value)
{
	label(out, key, text);
	if (out->json)
		json_string(out, value);
	else
		fprintf(out->file, "%s\n", value);
}

void out_bool(struct out *out, const char *key, const char *text, bool value)
{
	label(out, key, text);
	if (out->json)
		fputs(value ? "true" : "false", out->file);
	else
		fputs(value ? "yes\n" : "no\n", out->file);
}

void out_u64(struct out *out, const char *key, const char *text, uint64_t value, const char *unit)
{
	label(out, key, text);
	if (out->json)
		fprintf(out->file, "%llu", (unsigned long long)value);
	else
		fprintf(out->file, "%llu%s%s\n", (unsigned long long)value, *unit ? " " : "", unit);
}

void out_s64(struct out *out, const char *key, const char *text, int64_t value, const char *unit)
{
	label(out, key, text);
	if (out->json)
		fprintf(out->file, "%lld", (long long)value);
	else
		fprintf(out->file, "%lld%s%s\n", (long long)value, *unit ? " " : "", unit);
}

/* For a person it matters why there is nothing. */
void out_null(struct out *out, const char *key, const char *text, const char *why)
{
	label(out, key, text);
	if (out->json)
		fputs("null", out->file);
	else
		fprintf(out->file, "%s\n", why);
}

void out_flags(struct out *out, const char *key, const char *text, uint32_t flags)
{
	static const char *const names[] = {
		[1] = "TSC_STABLE", [2] = "REALTIME", [3] = "HOST_TSC",
		[4] = "GUEST_TSC", [5] = "MONOTONIC", [6] = "TAI", [7] = "GUEST_STOPPED",
	};
	unsigned int i;

	out_list(out, key, text);
	for (i = 1; i < ARRAY_SIZE(names); i++) {
		if (flags & 1u << i)
			out_item(out, names[i]);
	}
	out_list_end(out);
}
