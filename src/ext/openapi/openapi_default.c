/*-------------------------------------------------------------------------
 *
 * openapi_default.c
 *	  Defaults of columns as JSON, if they are constants.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"

#include "ext/base/subtransaction.h"
#include "ext/base/utf8.h"
#include "ext/json/json.h"
#include "ext/openapi/openapi_internal.h"

/*
 * Return true if the expression is a constant, with casts by PostgreSQL's own functions around it, such as that of 1 to
 * numeric(10,2).
 */
static bool
default_is_plain(Node *expression)
{
	if (IsA(expression, RelabelType))
		return default_is_plain((Node *) ((RelabelType *) expression)->arg);
	if (IsA(expression, FuncExpr))
	{
		FuncExpr *call = (FuncExpr *) expression;
		ListCell *cell;

		if (call->funcid >= FirstNormalObjectId ||
			(call->funcformat != COERCE_IMPLICIT_CAST && call->funcformat != COERCE_EXPLICIT_CAST))
			return false;
		foreach (cell, call->args)
		{
			if (!default_is_plain(lfirst(cell)))
				return false;
		}
		return true;
	}
	return IsA(expression, Const);
}

typedef struct DefaultConstant
{
	Node *expression;
	StringInfoData json; /* empty: none */
} DefaultConstant;

static void
default_evaluate(void *arg)
{
	DefaultConstant *constant = arg;
	Const *value = (Const *) eval_const_expressions(NULL, constant->expression);
	JsonType json = {0};
	List *relations = NIL;
	int pinned;

	if (!IsA(value, Const) || value->constisnull)
		return;
	json_prepare(&json, value->consttype, &relations);
	if (json.careful)
		return;
	pinned = json_pin(json.pins);
	json_append(&constant->json, &json, value->constvalue, false);
	json_unpin(pinned);
	utf8_make(&constant->json, 0);
}

char *
openapi_default(Node *expression)
{
	DefaultConstant constant = {.expression = expression};
	ErrorData *error;

	/* The domain's checks do not change the value. */
	while (IsA(constant.expression, CoerceToDomain))
		constant.expression = (Node *) ((CoerceToDomain *) constant.expression)->arg;
	if (!default_is_plain(constant.expression))
		return NULL;
	initStringInfo(&constant.json);

	/* PostgreSQL notices only now if the constant is too large for its type. */
	error = subtransaction_try(default_evaluate, &constant);
	if (error != NULL && ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
		ReThrowError(error);
	if (error != NULL || constant.json.len == 0)
		return NULL;
	return pnstrdup(constant.json.data, constant.json.len);
}
